/** Starts the page: the table at once, pictures and charts when the rest of the file is there. */

const VIEWS = ["videos", "review", "corrections", "failures"];

function showView(name) {
  for (const view of VIEWS) {
    const tab = byId(`tab-${view}`);
    byId(view).hidden = view !== name;
    tab.setAttribute("aria-selected", view === name);
    tab.tabIndex = view === name ? 0 : -1;
  }
  byId("filter").hidden = name !== "videos" && name !== "review";
  if (name === "review") review.show();
  if (name === "videos") charts.draw();
}

function buildTabs() {
  for (const [i, view] of VIEWS.entries()) {
    const tab = byId(`tab-${view}`);
    tab.addEventListener("click", (event) => {
      showView(view);
      // A pointer does not step through tabs: its arrow keys are to go from clip to clip, as the card says.
      if (view === "review" && event.detail) review.focus();
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = VIEWS[(i + step + VIEWS.length) % VIEWS.length];
      showView(next);
      byId(`tab-${next}`).focus();
    });
  }
}

/** Light, dark, or what the system says; kept by the browser if it keeps anything. */
function buildTheme() {
  const take = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    charts.draw();
  };
  const kept = remembered("poseact:theme");
  byId("theme").value = kept;
  take(kept);
  byId("theme").addEventListener("change", (event) => {
    take(event.target.value);
    remember("poseact:theme", event.target.value);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.draw());
}

function remembered(name) {
  try {
    return localStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    return; // a browser that keeps nothing shows it all the same
  }
}

function sayWhatIsHere() {
  const seconds = lengthOf.reduce((sum, length) => sum + length, 0);
  byId("summary").textContent =
    `${counted(VIDEOS, "video")}, ${duration(seconds)} in all, ${counted(ROWS, "clip label")}${perPerson ? " of single people" : ""}`;
  const { taken, kept } = data.pictures;
  if (VIDEOS && !taken)
    byId("thinned").textContent = "The run took no pictures, so people are shown as skeletons alone.";
  if (kept < taken) {
    byId("thinned").textContent =
      `To keep this file small it holds ${count(kept)} of ${count(taken)} pictures, spread evenly; the nearest one is shown.`;
  }
}

function onCorrection() {
  showCorrections();
  showKnownLabels();
  for (const timeline of table.timelines) timeline.refresh();
}

function start() {
  buildTheme();
  buildTabs();
  sayWhatIsHere();
  table.buildHead();
  filterbar.build();
  filter.addEventListener("change", () => table.arrange());
  filter.set({});
  onCorrection();
  corrections.addEventListener("change", onCorrection);
  byId("download").addEventListener("click", () => corrections.download());
  performance.mark("poseact-table");
}

/** Once the browser has drawn what is there. */
const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

async function finish() {
  table.fillPictures();
  performance.mark("poseact-pictures");
  await drawn();
  await charts.build();
  byId("charts").setAttribute("aria-busy", "false");
  performance.mark("poseact-charts");
}

start();
if (document.readyState === "loading") addEventListener("DOMContentLoaded", finish);
else finish();
