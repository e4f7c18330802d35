"""A login that stands in for claude's: a shell script that speaks as claude's does, and needs no network."""

import shlex

CODE = "the-right-code#a-state"
LINK = "https://claude.ai/oauth/authorize?z-secret-of-the-link"

_SCRIPT = """\
mkdir -p "$CLAUDE_CONFIG_DIR"
printf '%s' $$ > "$CLAUDE_CONFIG_DIR/login.pid"
printf "Opening browser to sign in…\\nIf the browser didn't open, visit:\\n{link}\\nPaste code here if prompted > "
while read -r code; do
    case "$code" in
    "{code}") printf '{{"claudeAiOauth":{{}}}}' > "$CLAUDE_CONFIG_DIR/.credentials.json"
              echo "Login successful."; exit 0 ;;
    *"#"*) echo "Couldn't log in: nobody knows $code or ${{code%%#*}}, see https://claude.ai/help?for=you" >&2
           exit 1 ;;
    *) echo "That doesn't look like the full code. Copy all of it, including the # in the middle." >&2 ;;
    esac
done
"""

SCRIPTED_LOGIN = shlex.join(["/bin/sh", "-c", _SCRIPT.format(link=LINK, code=CODE)])
"""The command, for HYPERHIVE_LOGIN_CMD. The script's pid is in `login.pid` beside the credentials."""
