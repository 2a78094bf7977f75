// What the pages do beyond HTML: charts, filters of lists, buttons that copy or print. Without it they are complete.
"use strict";

// ---------- charts

const charts = [];

// How times are written below a chart, by the distance of its ticks: 24 hours, the day first by year.
const DAY = "\n{YYYY}-{MM}-{DD}";
const TICKS = [
    // [seconds between ticks, every tick, and what is added when the year, month, day, hour, minute, second changes]
    [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
    [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", DAY, null, DAY, null, null, null, 1],
    [0.001, ":{ss}.{fff}", `${DAY} {HH}:{mm}`, null, `${DAY} {HH}:{mm}`, null, "\n{HH}:{mm}", null, 1],
];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function draw(plot) {
    const data = JSON.parse(document.getElementById(plot.dataset.chart).textContent);
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1 } };
    const look = [
        { stroke: colour("--series-1"), width: 2 },
        { stroke: colour("--series-2"), width: 2, dash: [8, 4] },
    ];
    const few = data.x.length < 40;
    const series = data.series.map((one, index) => ({
        ...look[index % look.length],
        label: one.label,
        value: (_, value) => (value === null ? "–" : `${exact.format(value)} ${data.unit}`),
        paths: data.kind === "steps" ? uPlot.paths.stepped({ align: 1 }) : undefined,
        points: { show: few },
    }));
    const chart = new uPlot(
        {
            width: plot.clientWidth || 600,
            height: 210,
            tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
            padding: [12, 12, 0, 0],
            scales: { x: { range: (_, low, high) => (high - low < 2 ? [low - 1, high + 1] : [low, high]) }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] } },
            axes: [{ ...axis, values: TICKS, space: 80 }, { ...axis, size: 56, values: (_, values) => values.map((value) => compact.format(value)) }],
            series: [{ label: "time (UTC)", value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" }, ...series],
        },
        [data.x, ...data.series.map((one) => one.values)],
        plot,
    );
    charts.push({ chart, plot });
}

function drawAll() {
    for (const { chart } of charts.splice(0)) {
        chart.destroy();
    }
    for (const plot of document.querySelectorAll("[data-chart]")) {
        plot.hidden = false;
        plot.textContent = " ";
        draw(plot);
    }
}

// ---------- filters

// Rows carry what they are filtered by in data attributes of the same names as the form's fields.
function filtering(form) {
    const rows = [...document.querySelectorAll(`#${form.dataset.filter} [data-text]`)];
    const none = document.querySelector(`[data-none="${form.dataset.filter}"]`);
    const count = form.querySelector(".count");
    const texts = rows.map((row) => `${row.dataset.text} ${row.textContent}`.toLowerCase());
    const apply = () => {
        const wanted = [...new FormData(form)].filter(([name, value]) => name !== "text" && value !== "");
        const words = String(new FormData(form).get("text") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        rows.forEach((row, index) => {
            const fits = wanted.every(([name, value]) => row.dataset[name] === value)
                && words.every((word) => texts[index].includes(word));
            row.hidden = !fits;
            shown += fits;
        });
        count.textContent = shown === rows.length ? `${exact.format(shown)} shown` : `${exact.format(shown)} of ${exact.format(rows.length)} shown`;
        none.hidden = shown > 0;
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
}

// ---------- buttons

function copying(button) {
    if (!navigator.clipboard) {
        return;
    }
    button.hidden = false;
    button.addEventListener("click", async () => {
        const before = [...button.childNodes];
        try {
            await navigator.clipboard.writeText(button.dataset.copy);
            button.textContent = "Copied";
        } catch {
            button.textContent = "Not allowed";
        }
        setTimeout(() => button.replaceChildren(...before), 1500);
    });
}

document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("form[data-filter]").forEach(filtering);
    document.querySelectorAll("[data-copy]").forEach(copying);
    document.querySelectorAll("[data-print]").forEach((button) => {
        button.hidden = false;
        button.addEventListener("click", () => window.print());
    });
    if (document.querySelector("[data-chart]")) {
        drawAll();
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
        new ResizeObserver(() => {
            for (const { chart, plot } of charts) {
                if (plot.clientWidth && plot.clientWidth !== chart.width) {
                    chart.setSize({ width: plot.clientWidth, height: 210 });
                }
            }
        }).observe(document.getElementById("main"));
    }
});
