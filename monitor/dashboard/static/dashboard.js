// Liveness, and nothing else: each page works without this. When the server says that something has changed, the page
// is fetched again and its main part replaced; not while somebody fills in a form, who is told instead.
"use strict";
(() => {
  const body = document.body;
  if (!body.dataset.marker || !window.EventSource) return;
  const state = document.getElementById("live");
  let seen = body.dataset.marker;
  let fetching = false;
  let again = false;

  const say = (text, old) => {
    state.textContent = text;
    state.hidden = !text;
    state.classList.toggle("warn", old);
  };

  const busy = (main) =>
    [...main.querySelectorAll("input, select, textarea")].some((one) =>
      one.type === "checkbox" ? one.checked !== one.defaultChecked
        : one.tagName === "SELECT" ? one.contains(document.activeElement) || one === document.activeElement
        : one.type !== "hidden" && one.value !== one.defaultValue);

  const fetched = async () => {
    const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
    if (answer.redirected) { location.reload(); return null; }
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  // What moves all the time, such as traffic, is no news: it is renewed as often as the stream says that it is alive.
  const renewMoving = async () => {
    const moving = [...document.querySelectorAll("[data-moves]")];
    if (fetching || document.hidden || !moving.length) return;
    const page = await fetched();
    for (const one of moving) {
      const fresh = page && page.getElementById(one.id);
      if (fresh) one.replaceWith(fresh);
    }
  };

  const renew = async () => {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const page = await fetched();
      const fresh = page && page.querySelector("main");
      const main = document.querySelector("main");
      if (!fresh || !main) return;
      if (busy(main)) { say("There is news: reload to see it", true); return; }
      const open = [...main.querySelectorAll("details[id]")].filter((one) => one.open).map((one) => one.id);
      const focused = main.contains(document.activeElement) ? document.activeElement.id : "";
      const own = main.querySelector("#said");
      main.replaceChildren(...fresh.childNodes);
      if (own) main.prepend(own);
      for (const id of open) {
        const one = document.getElementById(id);
        if (one) one.open = true;
      }
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      document.title = page.title;
      say("", false);
    } finally {
      fetching = false;
      if (again) { again = false; renew(); }
    }
  };

  // Whoever is asked to log in again is led there; else the stream is opened again, ever later while nobody answers.
  const comeBack = async (wait) => {
    await new Promise((done) => setTimeout(done, wait));
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (answer.ok) { await renew(); listen(); return; }
    } catch {
      // nobody answers yet
    }
    comeBack(Math.min(wait * 2, 10000));
  };

  const listen = () => {
    const stream = new EventSource("/events?since=" + encodeURIComponent(seen));
    let heard = Date.now();
    const lost = () => {
      clearInterval(watch);
      stream.close();
      say("Not connected: this may be old", true);
      comeBack(500);
    };
    const watch = setInterval(() => { if (Date.now() - heard > 25000) lost(); }, 5000);
    stream.addEventListener("alive", () => {
      heard = Date.now();
      renewMoving().catch(() => {});
    });
    stream.addEventListener("changed", (event) => {
      heard = Date.now();
      seen = event.data;
      renew().catch(() => {});
    });
    stream.addEventListener("open", () => { heard = Date.now(); say("", false); });
    stream.addEventListener("error", lost);
  };
  listen();
})();
