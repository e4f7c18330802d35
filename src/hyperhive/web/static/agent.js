// The composer of an agent's page: it keeps what is typed until it is sent, completes commands, and asks before one
// that loses something. What comes of it the hive renders.
"use strict";

const composer = $("composer");
const line = $("composer-body");
const commands = [...$("commands").children];
const draft = `hive-draft-${composer.dataset.agent}`;
let typed = ""; // of a command; Tab goes through all that begin so
let sending = "";

// Another text is another message; one that may have been sent already goes again under its id, and is taken once.
function write(text, prefix = text, mid = crypto.randomUUID()) {
  if (line.value !== text) line.value = text;
  typed = prefix;
  $("compose-mid").value = mid;
  sessionStorage.setItem(draft, JSON.stringify({ mid, text }));
  line.style.height = "auto";
  line.style.height = `${line.scrollHeight + 2}px`;
  for (const option of commands) {
    option.hidden = !offered().includes(option);
    option.setAttribute("aria-selected", String(option.dataset.line === text));
  }
  $("commands").hidden = !offered().length;
}

// Its next word, not those behind that.
const isNext = (whole) => whole.startsWith(typed) && !whole.slice(typed.length).trim().includes(" ");
const offered = () => commands.filter((option) => typed.startsWith("/") && isNext(option.dataset.line));

line.addEventListener("input", () => { $("compose-sent").textContent = ""; write(line.value); });
line.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return; // Safari says so by the code alone
  if (event.key === "Escape") write(line.value, "", $("compose-mid").value);
  else if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); composer.requestSubmit(); }
  else if (event.key === "Tab" && !event.shiftKey && offered().length) {
    event.preventDefault();
    const lines = offered().map((option) => option.dataset.line);
    write(lines[(lines.indexOf(line.value) + 1) % lines.length], typed);
  }
});
$("commands").addEventListener("mousedown", (event) => {
  event.preventDefault();
  write(event.target.closest("[role=option]").dataset.line);
});

composer.addEventListener("submit", (event) => {
  if (composer.matches(".htmx-request")) return; // the one before is under way
  sending = line.value;
  const asking = commands.find((option) => option.dataset.asks && option.dataset.line === sending.trim());
  composer.removeAttribute("hx-confirm");
  if (asking) { composer.setAttribute("hx-confirm", asking.dataset.asks); composer.dataset.yes = asking.dataset.yes; }
  if (sending.trim() !== "/clear") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  window.hiveTerminal?.clear();
  $("told").replaceChildren();
  write("");
}, true);

document.addEventListener("htmx:after:request", (event) => {
  const { sourceElement, response } = event.detail.ctx;
  if (sourceElement !== composer || response.status >= 300) return;
  write(line.value.startsWith(sending) ? line.value.slice(sending.length) : line.value); // what came meanwhile stays
  if (response.status !== 204) return;
  $("compose-sent").textContent = "Sent";
  $("told").replaceChildren();
});

const kept = JSON.parse(sessionStorage.getItem(draft) ?? "{}");
write(kept.text ?? "", "", kept.mid);
