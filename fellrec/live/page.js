// Puts the parts that the server sends in their places. It reads nothing but this page's own stream.
"use strict";
(() => {
  const stream = document.getElementById("stream");
  const query = new URLSearchParams(location.search);
  query.set("after", document.body.dataset.position);
  const source = new EventSource("events?" + query);
  const tell = (state, what) => { document.body.dataset.stream = state; stream.textContent = what; };
  source.onopen = () => tell("open", "connected");
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) tell("lost", "refused. Open the address that fellrec live printed last.");
    else tell("lost", "connection lost, connecting again. What stands here may be old.");
  };
  source.onmessage = (message) => {
    const parts = JSON.parse(message.data);
    for (const [name, markup] of Object.entries(parts)) {
      const place = document.getElementById("part-" + name);
      if (!place) continue;
      const open = [...place.querySelectorAll("details[open]")].map((element) => element.id);
      const focused = place.contains(document.activeElement) ? document.activeElement.closest("[id]")?.id : null;
      place.innerHTML = markup;
      for (const id of open) { const again = document.getElementById(id); if (again) again.open = true; }
      if (focused) document.getElementById(focused)?.querySelector("summary")?.focus();
    }
    document.title = "fellrec live: " + (document.querySelector("h1")?.textContent ?? "");
    tick();
  };
  const tick = () => {
    for (const element of document.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.round(Date.now() / 1000 - Number(element.dataset.since)));
      element.textContent = seconds < 120 ? ` (${seconds} s ago)` : ` (${Math.round(seconds / 60)} min ago)`;
    }
  };
  tick();
  setInterval(tick, 1000);
})();
