// Live progress. Everything works without it: forms are forms, and pages reload themselves while something runs.
"use strict";

(() => {
    const place = document.getElementById("live");
    if (!place || !window.EventSource) return;
    let stamp = place.dataset.stamp;
    let wanted = stamp;
    let drawing = false;
    let saidAt = 0;

    // Numbers go where the page shows them already.
    function put(run, texts) {
        const box = document.querySelector(`[data-run="${run}"]`);
        if (!box) return;
        for (const node of box.querySelectorAll("[data-put]")) {
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

    // What was typed, opened and focused stays when the page is drawn anew.
    function keep() {
        const values = new Map();
        for (const field of place.querySelectorAll("input:not([type=hidden]), textarea, select")) {
            const key = `${field.closest("section")?.id || field.closest("section")?.getAttribute("aria-labelledby")}/${field.name}`;
            values.set(key, field.type === "checkbox" ? field.checked : field.value);
        }
        const opened = [...place.querySelectorAll("details")].map((one) => one.open);
        const active = document.activeElement;
        const focus = active && place.contains(active) ? active.id || "" : "";
        return () => {
            for (const field of place.querySelectorAll("input:not([type=hidden]), textarea, select")) {
                const key = `${field.closest("section")?.id || field.closest("section")?.getAttribute("aria-labelledby")}/${field.name}`;
                if (!values.has(key)) continue;
                if (field.type === "checkbox") field.checked = values.get(key);
                else field.value = values.get(key);
            }
            const now = [...place.querySelectorAll("details")];
            if (now.length === opened.length) now.forEach((one, index) => { one.open = opened[index]; });
            if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
        };
    }

    const address = /\/(start|control)$/.test(location.pathname) ? "/admin/data-migration" : location.pathname;

    // Fetches the page and puts its part in place; false when there is nothing more to do here.
    async function redraw() {
        const answer = await fetch(address, { headers: { Accept: "text/html" } });
        if (answer.redirected) {
            location.reload();
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
        try {
            while (wanted !== stamp && await redraw()) {
                if (wanted !== stamp) await new Promise((done) => { setTimeout(done, 700); });
            }
        } catch {
            // The server is away; the event source tries again, and then says what is so.
            stamp = "";
        } finally {
            drawing = false;
        }
    }

    const source = new EventSource(place.dataset.live);
    source.addEventListener("message", (event) => {
        const state = JSON.parse(event.data);
        for (const [run, texts] of Object.entries(state.runs)) put(run, texts);
        wanted = state.stamp;
        draw();
    });
    window.addEventListener("pagehide", () => source.close());
})();

// What is being worked on elsewhere: look again after a while.
(() => {
    const place = document.querySelector("[data-reload]");
    if (place) setTimeout(() => location.reload(), Number(place.dataset.reload) * 1000);
})();
