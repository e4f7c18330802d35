// The palette, the dialogs that buttons open, the shortcuts. What the palette lists is the hive's; here it is sifted.
"use strict";
{
  const palette = $("palette");
  const filter = $("palette-filter");
  const entries = $("palette-entries");
  const shown = () => [...entries.querySelectorAll("li:not([hidden]) :is(a, button)")];
  let [typed, typedAt] = ["", 0];

  function open(dialog) {
    if ($("confirm").open) return;
    document.querySelector("dialog[open]")?.close();
    dialog.showModal();
    if (dialog !== palette) return;
    filter.value = "";
    sift();
    entries.dispatchEvent(new Event("opened"));
  }

  function sift() {
    const words = filter.value.toLowerCase().split(/\s+/);
    const fits = (text) => words.every((word) => text.includes(word));
    for (const entry of entries.querySelectorAll("li")) entry.hidden = !fits(entry.textContent.toLowerCase());
    $("palette-none").hidden = !filter.value || shown().length > 0;
  }

  filter.addEventListener("input", sift);
  entries.addEventListener("htmx:after:swap", sift);
  palette.addEventListener("keydown", (event) => {
    const places = [filter, ...shown()];
    const at = places.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) places[(at + step + places.length) % places.length].focus();
    else if (event.key === "Enter" && !at && !event.isComposing) places[1]?.click();
    else if (event.key.length === 1 && at > 0 && event.key !== " ") { filter.focus(); return; }
    else return;
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const pressed = event.target.closest("[data-opens], dialog a, #palette-entries button");
    if (!pressed) return;
    pressed.closest("dialog")?.close();
    if (pressed.dataset.opens) open($(pressed.dataset.opens));
    if (pressed.dataset.themeTo) chooseTheme(pressed.dataset.themeTo);
    if (pressed.hash) { event.preventDefault(); goTo(pressed.href); }
  });

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && key.toLowerCase() === "k") { event.preventDefault(); open(palette); }
    if (isCommand || event.altKey || key.length > 1 || document.querySelector("dialog[open]")) return;
    if (target.matches("input:not([type=checkbox], [type=radio]), textarea, select")) return;
    const before = event.timeStamp - typedAt < 1000 ? typed : "";
    [typed, typedAt] = [key, event.timeStamp];
    const chosen = [before + key, key].map((keys) => document.querySelector(`[data-keys="${CSS.escape(keys)}"]`)).find(Boolean);
    if (chosen) { event.preventDefault(); chosen.click(); }
  });
}
