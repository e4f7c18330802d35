// The terminal of an agent's page: it keeps its end in view unless the operator reads above it, lets the oldest rows
// go, and fetches them again. Rows come from the hive whole; what is being written is appended as text.
"use strict";

{
  const MOST = 2000;
  const NEAR = 48;
  const place = $("terminal-scroll");
  const jump = $("terminal-new");
  const url = $("terminal").dataset.url;
  let after = Number($("terminal-log").dataset.after);
  let isCut = false; // rows are missing at the end: they are fetched when it is gone to
  let missed = 0;
  let [top, isHeld] = [0, true]; // where it stood when it was looked last, and whether the end was in view
  let work = Promise.resolve();

  const shown = () => $("terminal-rows").getElementsByClassName("t-event");
  const isAtEnd = () => place.scrollHeight - place.scrollTop - place.clientHeight < NEAR;
  const fetched = (query, target) => htmx.ajax("GET", url + query, { target, swap: "outerHTML" });
  const then = (step) => { work = work.then(step).catch(() => {}); };

  function settle(wasAtEnd, count) {
    if (wasAtEnd) place.scrollTop = place.scrollHeight;
    look(wasAtEnd ? 0 : missed + count);
  }

  function look(count) {
    [top, isHeld, missed] = [place.scrollTop, isAtEnd(), count];
    $("terminal-missed").textContent = missed || "";
    jump.hidden = isHeld || !(missed || isCut);
  }

  function olderFrom(id) {
    const button = $("terminal-more").querySelector("button");
    button.value = id;
    button.hidden = false;
  }

  const takes = {
    async rows(id, html) {
      const [had, known, wasAtEnd] = [after, shown().length, isAtEnd()];
      const count = html.split(' data-event="').length - 1;
      if (id <= had) return;
      after = id;
      isCut ||= !wasAtEnd && known >= MOST;
      if (isCut) { settle(false, count); return; }
      await htmx.swap({ target: $("terminal-rows"), text: html, swap: "beforeend", sourceElement: place });
      for (const row of [...shown()].slice(known)) if (Number(row.dataset.event) <= had) row.remove();
      if (shown().length > MOST) olderFrom(shown()[shown().length - MOST].dataset.event);
      while (shown().length > MOST) shown()[0].remove();
      settle(wasAtEnd, count);
    },
    piece(id, payload) {
      const [wasAtEnd, text] = [isAtEnd(), $("terminal-writing")];
      const end = payload.indexOf("\n");
      const [offset, kind, key] = payload.slice(0, end).split(" ");
      if (text.dataset.key !== key) { text.dataset.key = key; text.className = kind; text.textContent = ""; }
      if (text.textContent.length > offset) text.textContent = text.textContent.slice(0, offset);
      text.append(payload.slice(end + 1));
      text.hidden = !text.textContent;
      after = Math.max(after, id);
      settle(wasAtEnd, 0);
    },
    async reset(id) {
      if (id < after) return; // of several that wait, the first one has fetched what the others would
      if (!isAtEnd()) { isCut = true; settle(false, 1); return; }
      await fetched("", "#terminal-log");
      after = Number($("terminal-log").dataset.after);
      isCut = false;
      settle(true, 0);
    },
  };

  async function older() {
    const button = $("terminal-more").querySelector("button");
    if (button.hidden || place.scrollTop >= 200) return;
    const below = place.scrollHeight - place.scrollTop;
    await fetched(`?before=${button.value}`, "#terminal-more");
    while (shown().length > MOST) { isCut = true; [...shown()].at(-1).remove(); }
    place.scrollTop = place.scrollHeight - below;
    look(missed);
  }

  place.addEventListener("scroll", () => {
    if (place.scrollTop < Math.min(top, 200) && shown().length) then(older);
    else if (isCut && isAtEnd()) then(() => takes.reset(Infinity));
    look(isAtEnd() ? 0 : missed);
  });
  place.addEventListener("click", (event) => {
    if (event.target.closest("#terminal-more button")) then(older);
  });
  jump.addEventListener("click", () => { place.scrollTop = place.scrollHeight; place.focus(); });

  window.hiveTerminal = {
    after: () => String(after),
    take(event) {
      const end = event.data.indexOf("\n");
      then(() => takes[event.data.slice(0, end)](Number(event.lastEventId), event.data.slice(end + 1)));
    },
    clear() {
      for (const row of [...shown()]) row.remove();
      olderFrom(after + 1);
      settle(true, 0);
    },
  };
  settle(true, 0);
  new ResizeObserver(() => { if (isHeld) settle(true, 0); }).observe(place);
}
