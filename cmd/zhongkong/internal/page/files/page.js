// Keeps the page up to date: counts the seconds, and fetches the part that changes
// after each event. Everything else works without this script.
"use strict";
(() => {
  const body = document.body, live = document.getElementById("live"), link = document.getElementById("link"), lost = document.getElementById("lost");
  const dialog = document.getElementById("confirm"), toast = document.getElementById("toast");
  const units = body.dataset.units.split(","), space = body.dataset.space, lang = body.dataset.lang;
  // Without the password that the page's address may contain, because fetch refuses it.
  const here = location.origin + location.pathname, root = new URL(body.dataset.root, here);
  const at = (path) => new URL(path, root).href;

  function duration(ms) {
    const total = Math.max(0, Math.floor(ms / 1000));
    const parts = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
    let first = 0;
    while (first < 3 && parts[first] === 0) first++;
    let text = parts[first] + space + units[first];
    if (first < 3 && parts[first + 1] !== 0) text += " " + parts[first + 1] + space + units[first + 1];
    return text;
  }

  // Seconds are counted from when the part arrived, by a clock that cannot be set.
  let came = performance.now();
  function tick() {
    const passed = performance.now() - came;
    for (const e of live.querySelectorAll("[data-left]")) e.textContent = duration(e.dataset.left - passed);
    for (const e of live.querySelectorAll("[data-age]")) e.textContent = duration(+e.dataset.age + passed);
  }

  // The same form in every language, as on the page that came: 11-26 12:44:36,
  // with the zone.
  const times = new Intl.DateTimeFormat(document.documentElement.lang, {
    month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short",
  });
  function clock(date) {
    const is = {};
    for (const part of times.formatToParts(date)) is[part.type] = part.value;
    return { day: `${is.month}-${is.day}`, time: `${is.hour}:${is.minute}:${is.second}`, zone: is.timeZoneName };
  }

  function localTimes() {
    for (const e of live.querySelectorAll("time")) {
      const is = clock(new Date(e.dateTime));
      e.title = e.dateTime;
      e.textContent = `${is.day} ${is.time} ${is.zone}`;
    }
  }

  function settle() {
    came = performance.now();
    entitle(document.getElementById("summary").textContent);
    localTimes();
    tick();
  }

  function entitle(text) { document.title = text + " · " + body.dataset.title; }

  // What the server does not confirm any more is old, and looks like it.
  let lostSince = null;
  function lose() {
    if (lostSince) return;
    lostSince = new Date();
    const is = clock(lostSince);
    lost.textContent = lost.dataset.text.replace("WHEN", `${is.time} ${is.zone}`);
    lost.hidden = false;
    live.classList.add("old");
    entitle(lost.textContent);
  }
  function find() {
    if (!lostSince) return;
    lostSince = null;
    lost.hidden = true;
    live.classList.remove("old");
    entitle(document.getElementById("summary").textContent);
  }

  function generations() {
    const known = new Map();
    for (const e of live.querySelectorAll("[data-generation]")) known.set(e.dataset.account, e.dataset.generation);
    return known;
  }

  // Finds an element of the part that changes again after the change.
  function whereabouts(element) {
    const mark = live.contains(element) && ["data-refresh", "data-copy", "href"].find((name) => element.hasAttribute(name));
    if (!mark) return () => null;
    const all = () => [...live.querySelectorAll(`[${mark}="${CSS.escape(element.getAttribute(mark))}"]`)];
    const place = all().indexOf(element);
    return () => all()[place];
  }

  // What is pressed must still be there when it is let go.
  let pressed = false;
  document.addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { pressed = false; });

  let fetching = false, again = false;
  async function update() {
    if (pressed) { soon(); return; }
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const query = new URLSearchParams(location.search);
      for (const once of ["refresh", "done", "failed"]) query.delete(once);
      query.set("lang", lang);
      query.set("fragment", "");
      const answer = await fetch(here + "?" + query, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) { lose(); return; }
      const html = await answer.text(), before = generations(), active = document.activeElement;
      find();
      if (pressed) { again = true; return; }
      if (active && active.type === "search") return; // the user is typing
      const same = whereabouts(active);
      live.innerHTML = html;
      for (const e of live.querySelectorAll("[data-generation]")) {
        const old = before.get(e.dataset.account);
        if (old !== undefined && old !== e.dataset.generation) e.classList.add("new");
      }
      same()?.focus({ preventScroll: true });
      settle();
    } catch {
      lose();
    } finally {
      fetching = false;
      if (again) { again = false; soon(); }
    }
  }

  let pending;
  function soon() {
    clearTimeout(pending);
    pending = setTimeout(update, 60);
  }

  function follow() {
    const show = (on) => {
      link.dataset.state = on ? "on" : "off";
      link.textContent = on ? link.dataset.text : link.dataset.textLost;
    };
    const stream = new EventSource(at("v1/events"));
    stream.onopen = () => { show(true); soon(); };
    stream.onerror = () => {
      show(false);
      soon(); // is it the stream alone?
      if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    };
    for (const kind of ["refreshed", "restored", "failed", "throttled", "begun", "connected", "disconnected"]) {
      stream.addEventListener(kind, soon);
    }
  }

  let hiding;
  function say(text, bad) {
    toast.textContent = text;
    toast.className = bad ? "bad" : "";
    toast.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => { toast.hidden = true; }, bad ? 12000 : 5000);
  }

  // Says in the page's language why the server did not refresh. What the issuer
  // answered, and what to do about it, is on the account's card.
  const whys = JSON.parse(body.dataset.whys);
  async function why(answer) {
    const problem = await answer.json().catch(() => ({}));
    const parts = [whys[problem.error] || whys.internal];
    const code = /\(code ([^()\s]+)\)/.exec(problem.message);
    if (code) parts.push(body.dataset.code.replace("0", () => code[1]));
    const wait = answer.headers.get("Retry-After");
    if (wait > 0) parts.push(whys.again.replace("%s", duration(wait * 1000)));
    return parts.join(" · ");
  }

  async function refresh(name, button) {
    const label = button.textContent;
    button.setAttribute("aria-busy", "true");
    button.textContent = body.dataset.working;
    try {
      const answer = await fetch(here, {
        method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams({ account: name }),
      });
      if (answer.ok) {
        say(toast.dataset.done.replace("NAME", name), false);
      } else {
        say(toast.dataset.failed.replace("WHY", await why(answer)), true);
      }
    } catch {
      say(toast.dataset.failed.replace("WHY", body.dataset.unanswered), true);
    } finally {
      button.removeAttribute("aria-busy");
      button.textContent = label;
      soon();
    }
  }

  // The answer is taken when it is given: "close" comes a moment later, and
  // could belong to the question before.
  let asked = null;
  dialog.addEventListener("submit", (event) => {
    const answered = asked;
    asked = null;
    if (answered && event.submitter?.value === "yes") refresh(answered.name, answered.button);
  });

  // The clipboard is there only on HTTPS and on the machine itself.
  async function copy(button) {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const field = document.createElement("textarea");
      field.value = button.dataset.copy;
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      button.focus();
    }
    button.textContent = body.dataset.copied;
    setTimeout(() => { button.textContent = label; }, 1500);
  }

  live.addEventListener("click", (event) => {
    const copied = event.target.closest("[data-copy]");
    if (copied) { copy(copied); return; }
    const button = event.target.closest("[data-refresh]");
    if (!button) return;
    event.preventDefault();
    ask(button);
  });

  function ask(button) {
    if (dialog.open) return;
    const title = document.getElementById("confirm-title"), name = button.dataset.refresh;
    const long = document.getElementById("confirm-long");
    title.textContent = title.dataset.text.replace("NAME", name);
    long.textContent = "first" in button.dataset ? long.dataset.first : long.dataset.text;
    asked = { name, button };
    dialog.showModal();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || event.target.closest("input")) return;
    const search = live.querySelector("[type=search]");
    const chosen = event.target.closest(".card") || document.querySelector(".two .card");
    const button = chosen && chosen.querySelector("[data-refresh]");
    if (event.key === "/" && search) search.select();
    else if (event.key === "r" && button) ask(button);
    else return;
    event.preventDefault();
  });

  document.documentElement.classList.add("script");
  settle();
  setInterval(tick, 1000);
  setInterval(soon, 15000); // what no event tells of: other processes' calls, a refresh that is late
  follow();
})();
