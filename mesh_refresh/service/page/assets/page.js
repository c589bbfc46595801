// Keeps what is marked with data-live as it is on the server. Without this script a reload does the same.
"use strict";
(() => {
  // What a form has answered, or a ticket, stands at the address of its page: to load that again repeats nothing.
  const path = document.body.dataset.path;
  if (path && path !== location.pathname + location.search) history.replaceState(null, "", path);

  const bar = document.getElementById("live-status");
  const text = document.getElementById("live-text");
  const toggle = document.getElementById("live-toggle");
  if (!bar || !document.querySelector("[data-live]")) return;
  const every = Number(bar.dataset.every);
  let paused = false;
  let timer = 0;

  // A part in which a person is at work stays: a form that is open, or has the focus or text in it.
  const isInUse = (part) =>
    part.contains(document.activeElement) ||
    part.querySelector("details[open]") !== null ||
    [...part.querySelectorAll("input:not([type=hidden])")].some((input) => input.value !== "");

  const show = (state, words) => {
    bar.className = `live ${state}`;
    text.textContent = words;
  };

  const refresh = async () => {
    const reply = await fetch(location.href, {
      headers: { "X-Live": "1" },
      redirect: "manual",
      signal: AbortSignal.timeout(10000),
    });
    if (reply.type === "opaqueredirect") return location.reload(); // the session has ended
    if (!reply.ok) throw new Error(String(reply.status));
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && !isInUse(part) && other.innerHTML !== part.innerHTML) part.replaceChildren(...other.childNodes);
    }
    const names = (page) => [...page.querySelectorAll("[data-live]")].map((part) => part.id).join();
    show("on", names(document) === names(fresh) ? "Live" : "Live: reload to see what is new");
  };

  const turn = async () => {
    window.clearTimeout(timer);
    if (!paused && !document.hidden) {
      try {
        await refresh();
      } catch {
        show("off", "Not updated: the service does not answer");
      }
    }
    if (!paused) timer = window.setTimeout(turn, every);
  };

  toggle.addEventListener("click", () => {
    paused = !paused;
    toggle.textContent = paused ? "Go on" : "Pause updates";
    show(paused ? "off" : "on", paused ? "Paused" : "Live");
    if (!paused) turn();
  });
  document.addEventListener("visibilitychange", () => document.hidden || paused || turn());
  bar.hidden = false;
  show("on", "Live");
  timer = window.setTimeout(turn, every);
})();
