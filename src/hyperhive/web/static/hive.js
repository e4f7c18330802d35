// The page's own doing: the stream, what must survive it, the compose box, the question before something is lost.
// It moves and fills what the hive has rendered and makes no markup.
"use strict";

const $ = (id) => document.getElementById(id);

// What the operator opened or picked is not the server's to take back.
htmx.registerExtension("keep", {
  htmx_before_morph_attr: (element, detail) =>
    !(detail.attrName === "open" && element.matches("details, dialog")) &&
    !(element.closest("#names") && ["hidden", "aria-selected"].includes(detail.attrName)),
});

// --- times

const UNITS = [[31536000, "y"], [2592000, "mo"], [86400, "d"], [3600, "h"], [60, "min"]];

function age(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  for (const [size, unit] of UNITS) {
    if (Math.abs(seconds) >= size) {
      const text = `${Math.floor(Math.abs(seconds) / size)} ${unit}`;
      return seconds > 0 ? `${text} ago` : `in ${text}`;
    }
  }
  return seconds > -1 ? "now" : "in a moment";
}

function tellTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = age(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

// --- the stream

const connection = $("connection");
let position = null;
let wait = 500;
let silence = null;
let source = null;
let swaps = Promise.resolve();

function connect() {
  const [path, asked] = connection.dataset.live.split("?");
  const query = new URLSearchParams(asked);
  query.set("since", position);
  if (window.hiveTerminal) query.set("after", hiveTerminal.after());
  source = new EventSource(`${path}?${query}`);
  source.onopen = () => { wait = 500; isOnline(true); heard(); };
  source.onmessage = (event) => {
    heard();
    position = event.lastEventId;
    const end = event.data.indexOf("\n");
    swaps = swaps.then(() => show(event.data.slice(0, end), event.data.slice(end + 1)));
  };
  source.addEventListener("terminal", (event) => { heard(); window.hiveTerminal?.take(event); });
  source.addEventListener("ping", heard);
  source.onerror = reconnect;
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(reconnect, 40000);
}

function reconnect() {
  clearTimeout(silence);
  source.close();
  isOnline(false);
  setTimeout(connect, wait);
  wait = Math.min(wait * 2, 8000);
  fetch("/", { method: "HEAD" }).then((answer) => {
    $("logged-out").hidden = answer.status !== 401;
    if (answer.status === 401) $("offline").hidden = true;
  }, () => {});
}

function isOnline(online) {
  $("offline").hidden = online;
  if (online) $("logged-out").hidden = true;
  connection.textContent = online ? "live" : "offline";
  connection.className = online ? "on" : "off";
}

async function show(name, html) {
  const target = $(name);
  if (!target) return;
  const active = document.activeElement;
  const place = target.contains(active) ? active.closest("[tabindex]:not(button):not(input)") : null;
  await htmx.swap({ target, text: html, swap: "outerMorph", sourceElement: target });
  if (place && document.activeElement === document.body && place.isConnected) place.focus({ preventScroll: true });
  // The log of a job that goes on goes on, too: it is fetched as it was when it was opened.
  for (const row of $(name).querySelectorAll("details.job-row[open]")) row.dispatchEvent(new Event("toggle"));
  tellTimes($(name));
  tellTitle();
}

const title = document.title;

function tellTitle() {
  const count = $("waiting")?.dataset.count;
  document.title = count ? `(${count}) ${title}` : title;
}

// --- what could not be done

function alarm(text) {
  const made = $("alert-template").content.cloneNode(true);
  made.querySelector("p").textContent = text;
  $("alerts").append(made);
}

document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) alarm("The hive did not answer; nothing is lost here. Look whether it was done before you try again.");
});

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const form = ctx.sourceElement;
  if (ctx.response.status !== 204 || !form.matches("form")) return;
  if (form.id === "compose") sent();
  else if ("clear" in form.dataset) form.reset();
  else if (form.dataset.then) location.assign(form.dataset.then);
});

document.addEventListener("htmx:after:swap", () => {
  const alerts = $("alerts");
  while (alerts.children.length > 4) alerts.firstElementChild.remove();
});

// --- the question before something is lost

document.addEventListener("htmx:confirm", (event) => {
  event.preventDefault();
  const { ctx, issueRequest, dropRequest } = event.detail;
  const dialog = $("confirm");
  const asker = document.activeElement;
  $("confirm-text").textContent = ctx.confirm;
  $("confirm-yes").textContent = ctx.sourceElement.dataset.yes;
  dialog.returnValue = "no";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") issueRequest(); else dropRequest();
    const menu = asker.closest("details.menu");
    if (menu) menu.open = false;
    (menu?.querySelector("summary") ?? asker).focus({ preventScroll: true });
  }, { once: true });
  dialog.showModal();
});

// --- the compose box

const compose = $("compose");
const body = $("compose-body");

function setUpCompose() {
  $("compose-to").value = new URLSearchParams(location.search).get("to") ?? localStorage.getItem("hive-to") ?? "";
  freshMid();
  // Another text is another message: only the same one may be sent twice under one id.
  compose.addEventListener("input", freshMid);
  body.addEventListener("input", complete);
  body.addEventListener("keydown", composeKeys);
  body.addEventListener("blur", () => setTimeout(closeNames, 200));
  $("compose-reply-chip").addEventListener("click", () => replyTo("", ""));
  $("names").parentElement.parentElement.addEventListener("mousedown", (event) => {
    const option = event.target.closest("#names [role=option]");
    if (option) { event.preventDefault(); choose(option); }
  });
}

function freshMid() {
  $("compose-mid").value = crypto.randomUUID();
  $("compose-sent").textContent = "";
}

function sent() {
  const to = /^\s*@([^\s@:,]+)[:,]?(\s|$)/.exec(body.value)?.[1] ?? $("compose-to").value;
  localStorage.setItem("hive-to", to);
  body.value = "";
  $("compose-to").value = to;
  replyTo("", "");
  freshMid();
  $("compose-sent").textContent = `Sent to ${to}`;
}

function replyTo(id, to) {
  $("compose-reply").value = id;
  $("compose-reply-chip").hidden = !id;
  $("compose-reply-chip").textContent = `reply to #${id} ✕`;
  if (to) { $("compose-to").value = to; body.focus(); }
}

function composeKeys(event) {
  if (event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); compose.requestSubmit(); return; }
  if ($("names").hidden) return;
  const options = shownNames();
  const at = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown") select(options[(at + 1) % options.length]);
  else if (event.key === "ArrowUp") select(options[(at + options.length - 1) % options.length]);
  else if (event.key === "Enter" || event.key === "Tab") choose(options[Math.max(at, 0)]);
  else if (event.key === "Escape") closeNames();
  else return;
  event.preventDefault();
}

function shownNames() {
  return [...$("names").children].filter((option) => !option.hidden);
}

function complete() {
  const typed = /^@([a-z0-9*-]*)$/.exec(body.value.slice(0, body.selectionStart))?.[1];
  if (typed === undefined) { closeNames(); return; }
  for (const option of $("names").children) option.hidden = !option.dataset.name.startsWith(typed);
  const options = shownNames();
  $("names").hidden = !options.length;
  if (options.length) select(options[0]);
}

function select(option) {
  for (const other of $("names").children) other.setAttribute("aria-selected", String(other === option));
  body.setAttribute("aria-activedescendant", option.id);
  option.scrollIntoView({ block: "nearest" });
}

function choose(option) {
  const rest = body.value.slice(body.selectionStart).trimStart();
  body.value = `@${option.dataset.name} ${rest}`;
  body.selectionStart = body.selectionEnd = option.dataset.name.length + 2;
  closeNames();
  body.focus();
}

function closeNames() {
  $("names").hidden = true;
  body.removeAttribute("aria-activedescendant");
}

// --- small things

document.addEventListener("click", (event) => {
  const dismissed = event.target.closest("[data-dismiss]");
  if (dismissed) dismissed.closest(".alert").remove();
  const reply = event.target.closest("[data-reply]");
  if (reply) replyTo(reply.dataset.reply, reply.dataset.to);
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target) && !event.target.closest("dialog")) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu[open]");
  if (event.key === "Escape" && menu) { menu.open = false; menu.querySelector("summary").focus(); }
});

// To something on this page by giving it the focus: what is typed stays. Else the browser goes there.
function goTo(href) {
  const { pathname, searchParams, hash } = new URL(href);
  const place = pathname === location.pathname && hash && document.getElementById(hash.slice(1));
  if (!place) { location.assign(href); return; }
  if (searchParams.has("to")) $("compose-to").value = searchParams.get("to");
  place.focus();
}

function chooseTheme(theme) {
  $("theme").value = document.documentElement.dataset.theme = theme;
  document.cookie = `hive-theme=${theme}; path=/; max-age=31536000; samesite=strict`;
}

$("theme").addEventListener("change", (event) => chooseTheme(event.target.value));

tellTimes(document);
tellTitle();
setInterval(() => tellTimes(document), 20000);
if (compose) setUpCompose();
if (connection) {
  position = new URLSearchParams(connection.dataset.live.split("?")[1]).get("since");
  document.addEventListener("DOMContentLoaded", connect); // behind the page's other scripts
}
