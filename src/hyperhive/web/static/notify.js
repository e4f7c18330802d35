// What newly waits, told by the browser: once, by one of the pages that are open. And the icon of the tab.
"use strict";
{
  const can = "Notification" in window;
  const icon = $("icon");
  const isMuted = (kind) => localStorage.getItem(`hive-muted-${kind}`) === "yes";
  const listed = () => [...document.querySelectorAll("#news a")];
  let known = new Set(listed().map((item) => item.id));
  let isOurs = false;
  function look() {
    const state = connection?.className === "off" ? "offline" : $("waiting")?.dataset.count ? "waiting" : "calm";
    if (icon.getAttribute("href") !== icon.dataset[state]) icon.href = icon.dataset[state];
    const fresh = listed().filter((item) => !known.has(item.id));
    known = new Set(listed().map((item) => item.id));
    if (isOurs && can && Notification.permission === "granted") fresh.forEach(tell);
  }

  function tell(item) {
    if (isMuted(item.dataset.kind)) return;
    try {
      const told = new Notification(item.title, { body: item.textContent, tag: item.id, icon: icon.dataset.waiting });
      told.onclick = () => { window.focus(); told.close(); goTo(item.href); };
    } catch { /* a phone's browser takes none from a page */ }
  }

  function tellState() {
    const state = can ? Notification.permission : "missing";
    for (const line of $("notifying-state").children) line.hidden = line.dataset.when !== state;
  }

  for (const box of document.querySelectorAll("#notifying [data-kind]")) box.checked = !isMuted(box.dataset.kind);
  $("notifying").addEventListener("change", ({ target }) => {
    localStorage.setItem(`hive-muted-${target.dataset.kind}`, target.checked ? "no" : "yes");
  });
  $("notifying-ask").addEventListener("click", () => Notification.requestPermission().then(tellState));
  if ($("waiting")) navigator.locks?.request("hive-notify", () => { isOurs = true; return new Promise(() => {}); });
  new MutationObserver(look).observe(document.querySelector(".top"), { subtree: true, childList: true, attributes: true });
  tellState();
  look();
}
