// Live progress. Everything works without it: forms are forms, and pages reload themselves while something runs.
"use strict";

(() => {
    const place = document.getElementById("live");
    if (!place || !window.EventSource) return;
    const away = document.getElementById("away");
    const job = place.dataset.job;
    let stamp = place.dataset.stamp;
    let wanted = stamp;
    let drawing = false;
    let saidAt = 0;

    // Numbers go where the page shows them already.
    function put(run, texts) {
        for (const node of document.querySelectorAll(`[data-run="${run}"] [data-put]`)) {
            const name = node.dataset.put;
            if (name === "bar") {
                node.max = texts.max || 1;
                node.value = texts.value;
            } else if (name === "groups") {
                node.replaceChildren(...Object.entries(texts.groups).map(([provider, count]) => {
                    const pair = document.createElement("div");
                    const term = document.createElement("dt");
                    const value = document.createElement("dd");
                    term.textContent = provider || "(none)";
                    value.textContent = count.toLocaleString("en");
                    pair.append(term, value);
                    return pair;
                }));
            } else if (name === "said") {
                // Now and then, so that a screen reader is not kept talking.
                if (Date.now() - saidAt > 15000) {
                    saidAt = Date.now();
                    node.textContent = `${texts.percent}: ${texts.done} of ${texts.expected} rows, ${texts.left} left`;
                }
            } else if (name in texts) {
                node.textContent = texts[name];
            }
        }
    }

    // ---------- drawing anew

    const FIELDS = "input:not([type=hidden]), textarea, select";

    const section = (node) => {
        const found = node.closest("section");
        return found?.id || found?.getAttribute("aria-labelledby") || "";
    };

    // What tells an element that can have the focus from the others, before and after: a number that was typed for one dry
    // run is not that of another.
    const mark = (node) => [
        node.tagName, section(node), node.id, node.name, node.getAttribute("href"), node.getAttribute("aria-label"),
        ...[...(node.form?.querySelectorAll("input[type=hidden]") ?? [])].map((one) => one.value),
        node.matches("button, summary") ? node.textContent.trim() : "",
    ].join("|");

    // What was typed, opened and focused stays when the page is drawn anew.
    function keep() {
        const values = new Map();
        for (const field of place.querySelectorAll(FIELDS)) {
            values.set(mark(field), field.type === "checkbox" ? field.checked : field.value);
        }
        const opened = [...place.querySelectorAll("details")].map((one) => one.open);
        const active = document.activeElement;
        const focused = active && place.contains(active) ? mark(active) : null;
        return () => {
            for (const field of place.querySelectorAll(FIELDS)) {
                const value = values.get(mark(field));
                if (value === undefined) continue;
                if (field.type === "checkbox") field.checked = value;
                else field.value = value;
            }
            const now = [...place.querySelectorAll("details")];
            if (now.length === opened.length) now.forEach((one, index) => { one.open = opened[index]; });
            if (focused === null) return;
            const choice = [...place.querySelectorAll(`a, button, summary, [tabindex], ${FIELDS}`)];
            choice.find((node) => mark(node) === focused)?.focus({ preventScroll: true });
        };
    }

    // Fetches the page and puts its part in place; false when that did not work.
    async function redraw() {
        const answer = await fetch(place.dataset.page, { headers: { Accept: "text/html" } });
        if (answer.redirected) {
            location.assign(answer.url); // to the login
            return false;
        }
        const page = answer.ok
            && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
        if (!page) return false;
        const back = keep();
        place.replaceChildren(...page.childNodes);
        stamp = page.dataset.stamp;
        back();
        return true;
    }

    // Something may happen while the page is drawn: go on until it shows what was last told.
    async function draw() {
        if (drawing) return;
        drawing = true;
        let pause = 700;
        try {
            while (wanted !== stamp && source) {
                pause = await redraw() ? 700 : 3000;
                if (wanted !== stamp) await new Promise((done) => { setTimeout(done, pause); });
            }
        } catch {
            // The server is away; what it says when it is back is drawn then.
            stamp = "";
        } finally {
            drawing = false;
        }
    }

    // ---------- listening

    let source = null;
    let late = 0;
    let again = 0;

    // Why nothing new comes: "server", "database", or "" when it does.
    function say(why) {
        const text = why && away.dataset[why];
        away.hidden = !text;
        if (away.lastElementChild.textContent !== text) away.lastElementChild.textContent = text;
    }

    function leave() {
        clearTimeout(late);
        clearTimeout(again);
        late = 0;
        source?.close();
        source = null;
    }

    function listen() {
        leave();
        source = new EventSource(place.dataset.live);
        source.addEventListener("open", () => {
            clearTimeout(late);
            late = 0;
            say("");
        });
        source.addEventListener("message", (event) => {
            const state = JSON.parse(event.data);
            say("");
            for (const [run, texts] of Object.entries(state.runs)) put(run, texts);
            wanted = job in state.jobs ? `${state.stamp}/${state.jobs[job]}` : state.stamp;
            draw();
        });
        source.addEventListener("away", () => say("database"));
        source.addEventListener("error", (event) => {
            late = late || setTimeout(() => say("server"), 3000);
            // An answer that is no stream ends it for good: nobody is signed in any more, or a proxy answered.
            if (event.target.readyState === EventSource.CLOSED) again = setTimeout(ask, 2000);
        });
    }

    async function ask() {
        try {
            await redraw();
        } catch {
            // The server is away.
        }
        if (source) listen();
    }

    // A browser has few connections to a server: pages that nobody looks at leave theirs to others.
    document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else listen(); });
    window.addEventListener("pagehide", leave);
    window.addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
    if (!document.hidden) listen();
})();

// What is being worked on elsewhere: look again after a while.
(() => {
    const place = document.querySelector("[data-reload]");
    if (place) setTimeout(() => location.reload(), Number(place.dataset.reload) * 1000);
})();
