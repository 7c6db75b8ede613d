/** Distributions of labels and of scores, by Plotly, which is unpacked once the table is there. */

const BINS = 20;
/** Labels that a histogram can tell apart. */
const MOST_STACKED = 6;

const charts = {
  by: "clips",
  isReady: false,

  async build() {
    await loadPlotly();
    this.isReady = true;
    this.draw();
    byId("chart-labels").on("plotly_click", (event) => this.pickLabel(event.points[0].customdata));
    byId("chart-scores").on("plotly_click", (event) => this.pickBin(event.points[0].customdata));
    filter.addEventListener("change", () => this.draw());
    for (const by of ["clips", "seconds"]) byId(`by-${by}`).addEventListener("click", () => this.countBy(by));
  },

  draw() {
    if (!this.isReady || byId("videos").hidden) return;
    this.drawLabels();
    this.drawScores();
  },

  countBy(by) {
    this.by = by;
    for (const each of ["clips", "seconds"]) byId(`by-${each}`).setAttribute("aria-pressed", each === by);
    this.drawLabels();
  },

  drawLabels() {
    const sums = new Float64Array(CODES);
    for (let row = 0; row < ROWS; row++) {
      if (filter.showsBut(row, BY_LABEL)) sums[code[row]] += this.by === "clips" ? 1 : to[row] - from[row];
    }
    const order = [...sums.keys()].filter((which) => sums[which] > 0).sort((a, b) => sums[a] - sums[b]);
    const { labels } = filter.wanted;
    const values = order.map((which) => sums[which]);
    const bars = {
      type: "bar",
      orientation: "h",
      x: values,
      y: order.map((_, i) => i),
      customdata: order,
      text: values.map((value) => (this.by === "clips" ? count(value) : duration(value))),
      textposition: "outside",
      cliponaxis: false,
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        color: order.map((which) => (which < UNSURE ? colourOf(which) : styleColour("--unsure"))),
        opacity: order.map((which) => (!labels.size || labels.has(which) ? 1 : 0.3)),
      },
    };
    const names = {
      tickvals: order.map((_, i) => i),
      ticktext: order.map((which) => shortened(labelName(which))),
      automargin: true,
    };
    const layout = plainLayout(Math.max(110, 21 * order.length + 16));
    Object.assign(layout.yaxis, names, { showgrid: false, range: [-0.6, order.length - 0.4] });
    Object.assign(layout.xaxis, { showticklabels: false, showgrid: false, range: [0, 1.3 * Math.max(...values, 1)] });
    layout.margin.b = 4;
    Plotly.react("chart-labels", [bars], layout, CONFIG);
  },

  drawScores() {
    const chosen = [...filter.wanted.labels].filter((which) => which < UNSURE).slice(0, MOST_STACKED);
    const groups = chosen.length > 1 ? chosen : [null];
    const sums = new Map(groups.map((which) => [which, new Array(BINS).fill(0)]));
    for (let row = 0; row < ROWS; row++) {
      if (rows.score[row] < 0 || !filter.showsBut(row, BY_SCORE)) continue;
      const bins = sums.get(groups[0] === null ? null : code[row]);
      if (bins) bins[binOf(rows.score[row])]++;
    }
    const { low, high } = filter.wanted;
    const inRange = [...Array(BINS).keys()].map(
      (bin) => (bin + 0.5) * (1000 / BINS) >= low && (bin + 0.5) * (1000 / BINS) <= high,
    );
    const single = chosen.length === 1 ? colourOf(chosen[0]) : styleColour("--accent");
    const bars = groups.map((which) => ({
      type: "bar",
      name: which === null ? "" : shortened(labelName(which)),
      x: inRange.map((_, bin) => (100 * (bin + 0.5)) / BINS),
      y: sums.get(which),
      width: 100 / BINS - 0.5,
      customdata: inRange.map((_, bin) => bin),
      hovertemplate: `%{y} clips${which === null ? "" : " %{fullData.name}"}<extra></extra>`,
      marker: {
        color: which === null ? single : colourOf(which),
        opacity: inRange.map((inside) => (inside ? 1 : 0.3)),
      },
    }));
    const layout = {
      ...plainLayout(190),
      barmode: "stack",
      showlegend: groups.length > 1,
      legend: { orientation: "h", y: 1.15 },
    };
    Object.assign(layout.xaxis, { range: [0, 100], ticksuffix: " %", dtick: 25 });
    layout.margin.b = 28;
    layout.yaxis.automargin = true;
    Plotly.react("chart-scores", bars, layout, CONFIG);
  },

  /** A click on a label adds it to those that are shown, or takes it away. */
  pickLabel(which) {
    const labels = new Set(filter.wanted.labels);
    if (!labels.delete(which)) labels.add(which);
    filter.set({ labels });
  },

  /** A click on a bin shows only that; another click all. */
  pickBin(bin) {
    const [low, high] = [bin, bin + 1].map((border) => (border * 1000) / BINS);
    const isOn = filter.wanted.low === low && filter.wanted.high === high;
    filter.set(isOn ? { low: 0, high: 1000 } : { low, high });
  },
};

const CONFIG = { displayModeBar: false, responsive: true };
const binOf = (score) => Math.min(BINS - 1, Math.floor((score * BINS) / 1000));

/** Plotly reads a subset of HTML in its texts; a label is none. */
function shortened(name) {
  const short = name.length > 22 ? `${name.slice(0, 21)}…` : name;
  return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** A colour of page.css as the theme has it. */
function styleColour(name) {
  const probe = document.body.appendChild(h("i", { style: `color: var(${name})` }));
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function plainLayout(height) {
  const axis = {
    fixedrange: true,
    gridcolor: styleColour("--line"),
    zeroline: false,
    linecolor: styleColour("--line"),
  };
  return {
    height,
    margin: { l: 8, r: 8, t: 4, b: 24 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: styleColour("--ink"), family: "system-ui, sans-serif", size: 12 },
    bargap: 0.28,
    hovermode: "closest",
    xaxis: { ...axis },
    yaxis: { ...axis },
  };
}

/** It lies in the page as gzip in base64, a third of its size. */
async function loadPlotly() {
  const packed = Uint8Array.from(atob(byId("plotly").textContent), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = h("script", { nonce: document.querySelector("script[nonce]").nonce });
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
}
