// Common functions of all plots: colours that colour-blind readers can distinguish, theme, safe text, drawing on demand.
const LIGHT = ["#0b5c8f", "#c2571a", "#138a72", "#a3447f", "#8a6d00", "#4f4fb5", "#a32c2c", "#3f7d20", "#5d6d7e", "#7a4a2b"];
const DARK = ["#6fb7e9", "#f0a06a", "#5fd0b5", "#e39ac6", "#dcc24c", "#aaa9f2", "#f08f8f", "#9fd07f", "#a9b8c6", "#c99f7f"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];

// rows in colours: those that are ranked, or the methods if none is
const COLOURED = DATA.rows.some((r) => r.kind === "ranked") ? "ranked" : "apart";

function colourOf(row) {
  const set = currentTheme() === "dark" ? DARK : LIGHT;
  return DATA.rows[row].kind === COLOURED ? set[row % set.length] : getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
}

function dashOf(row) {
  if (DATA.rows[row].kind === COLOURED) return DASHES[Math.floor(row / LIGHT.length) % DASHES.length];
  return DASHES[1 + (row % (DASHES.length - 1))];
}

function faded(colour, alpha) {
  const n = parseInt(colour.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
}

// plotly interprets some tags and entities in texts: texts of the data must be escaped
function plotText(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function plotLayout(more) {
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--ink").trim(), soft = css.getPropertyValue("--soft").trim(), rule = css.getPropertyValue("--rule").trim();
  const axis = { automargin: true, gridcolor: rule, linecolor: soft, zerolinecolor: rule, tickfont: { color: soft } };
  return {
    template: DATA.template, font: { family: css.getPropertyValue("--sans"), color: ink },
    hoverlabel: { bgcolor: css.getPropertyValue("--raised").trim(), bordercolor: rule, font: { color: ink } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
    ...more, margin: { l: 56, r: 12, b: 48, ...more.margin, t: Math.max(TOP, (more.margin || {}).t || 0) }, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

// the tool bar has a strip of its own above the plot (margin TOP), and no button that would send the data anywhere
const TOP = 34;
const PLOT_CONFIG = { responsive: true, displaylogo: false, displayModeBar: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] };

function drawPlot(node, traces, layout, empty = "No measurements.") {
  node.classList.toggle("empty", !traces.length);
  showLegend(node, layout.showlegend ? traces.filter((t) => t.name && t.showlegend !== false) : []);
  if (!traces.length) {
    Plotly.purge(node);
    node.textContent = empty;
    return;
  }
  if (!node.querySelector(".plot-container")) node.textContent = "";
  Plotly.react(node, traces, fitted(plotLayout({ ...layout, showlegend: false }), node.clientWidth), PLOT_CONFIG);
}

// on a narrow screen a long title of an axis gets two lines, and titles are smaller
function fitted(layout, width) {
  if (width > 520) return layout;
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    const title = layout[axis].title;
    if (!title) continue;
    const words = title.text.split(" "), half = Math.ceil(words.length / 2);
    const text = title.text.length > 30 && words.length > 2 ? `${words.slice(0, half).join(" ")}<br>${words.slice(half).join(" ")}` : title.text;
    layout[axis] = { ...layout[axis], title: { ...title, text, font: { size: 12 } } };
  }
  return layout;
}

// an axis of small numbers has them as the tables have, not with prefixes such as µ
function asWritten(values) { return values.length && Math.max(...values.map(Math.abs)) < 0.01 ? { exponentformat: "none" } : {}; }

const PATTERNS = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "9 3" };

function swatch(colour, dash) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), stroke = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [k, v] of Object.entries({ width: 18, height: 8, "aria-hidden": "true" })) svg.setAttribute(k, v);
  for (const [k, v] of Object.entries({ x1: 0, x2: 18, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": PATTERNS[dash || "solid"] })) stroke.setAttribute(k, v);
  svg.append(stroke);
  return svg;
}

// the legend of a plot as text below it: it wraps on a narrow screen and covers nothing
function showLegend(node, traces) {
  let list = node.nextElementSibling;
  if (!list || !list.classList.contains("plot-legend")) {
    if (!traces.length) return;
    list = make("ul", { class: "plot-legend" });
    node.after(list);
  }
  const plain = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  list.replaceChildren(...traces.map((t) => make("li", {}, swatch(t.line.color, t.line.dash), plain(t.name))));
}

const DRAWN = new Map();

// draw a chart when it comes near the visible part of the page or before printing, and again when the theme changes
function whenSeen(node, draw) {
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((s) => s.isIntersecting)) return;
    watch.disconnect();
    DRAWN.set(node, draw);
    draw();
  }, { rootMargin: "300px" });
  watch.observe(node);
  addEventListener("beforeprint", () => { if (!DRAWN.has(node)) { DRAWN.set(node, draw); draw(); } });
}

// plotly stores colours in the charts, so print style sheets do not reach them: redraw in the light theme before printing
function setUpPrint() {
  let before = "";
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme || "";
    document.documentElement.dataset.theme = "light";
    redrawAll();
  });
  addEventListener("afterprint", () => {
    if (before) document.documentElement.dataset.theme = before; else delete document.documentElement.dataset.theme;
    redrawAll();
  });
}

function redrawAll() { for (const draw of DRAWN.values()) draw(); }
