"""`hive doctor`: what this machine lacks, and what to do about it."""

import asyncio
import os

from hyperhive.cli import checks
from hyperhive.cli.finding import Finding
from hyperhive.cli.options import Json
from hyperhive.cli.output import console, put_json, say
from hyperhive.cli.safe import clean
from hyperhive.config.paths import Paths


def run(json: Json = False) -> int:
    """Check what the hive needs here, and attack its dashboard; 1 when something needed is missing or stands open."""
    own, used = (make(os.environ, os.geteuid()) for make in (Paths.from_environment, Paths.for_client))
    findings = asyncio.run(checks.all_of_them(own, used, os.environ))
    if json:
        put_json(findings)
    else:
        _show(findings)
    return 0 if all(finding.ok or not finding.needed for finding in findings) else 1


def _show(findings: list[Finding]) -> None:
    out = console()
    for finding in findings:
        mark, style = ("✓", "green") if finding.ok else ("✗", "red") if finding.needed else ("!", "yellow")
        out.out(f"{mark} ", style=style, highlight=False, end="")
        out.out(f"{clean(finding.name)}: {clean(finding.detail)}", highlight=False)
        if not finding.ok and finding.remedy:
            out.out(f"    {clean(finding.remedy)}", style="bold", highlight=False)
    missing = [finding.name for finding in findings if not finding.ok and finding.needed]
    say(f"to be mended: {'; '.join(missing)}" if missing else "nothing that is needed is missing")
