// The log that grows: lines are put at its end, as text, and those at its beginning go.
"use strict";
const shown = document.getElementById("log");
window.hiveTerminal = {
  after: () => "",
  take({ data }) {
    const [kind, ...lines] = data.split("\n");
    const atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 48;
    if (kind === "reset") shown.textContent = "";
    shown.append(...lines.map((line) => `${line}\n`));
    while (shown.childNodes.length > shown.dataset.most) shown.firstChild.remove();
    if (atEnd) shown.scrollTop = shown.scrollHeight;
  },
};
