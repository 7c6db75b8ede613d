/** What the reader says of rows, kept by the browser until it is downloaded as CSV. */

const STORE = `poseact:corrections:${data.id}`;

function placeOf(row) {
  return { path: pathOf(videoOf[row]), start: startOf(row), end: endOf(row), person: rows.person[row] };
}

/** The path comes last: it alone may hold a separator. */
const keyOf = (each) => [each.start, each.end, each.person, each.video].join("|");

function rowKey(row) {
  const { path, start, end, person } = placeOf(row);
  return keyOf({ video: path, start, end, person });
}

function field(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const corrections = new (class extends EventTarget {
  known = new Map();
  isKept = true;

  constructor() {
    super();
    this.read();
    addEventListener("storage", (event) => {
      if (event.key !== STORE) return;
      this.read();
      this.dispatchEvent(new Event("change"));
    });
  }

  read() {
    let kept = [];
    try {
      kept = JSON.parse(localStorage.getItem(STORE) ?? "[]");
    } catch {
      this.isKept = false; // the browser forbids it, or something else wrote there
    }
    this.known = new Map(kept.map((each) => [keyOf(each), each]));
  }

  write() {
    try {
      localStorage.setItem(STORE, JSON.stringify([...this.known.values()]));
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
    this.dispatchEvent(new Event("change"));
  }

  /** The correction of a row; undefined without one. */
  of(row) {
    return this.known.get(rowKey(row));
  }

  /** Say what a row shows: its own label, if that is right. */
  set(row, label) {
    const { path, start, end, person } = placeOf(row);
    this.known.delete(rowKey(row));
    this.known.set(rowKey(row), { video: path, start, end, person, label, was: labelName(code[row]), ...whereIs(row) });
    this.write();
  }

  remove(key) {
    this.known.delete(key);
    this.write();
  }

  get list() {
    return [...this.known].map(([key, each]) => ({ key, ...each }));
  }

  /** Labels that only the reader knows. */
  get ownLabels() {
    return new Set([...this.known.values()].map((each) => each.label).filter((label) => !data.labels.includes(label)));
  }

  /** RFC 4180. */
  asCsv() {
    const order = (a, b) => (a.video < b.video ? -1 : a.video > b.video ? 1 : a.start - b.start);
    const lines = this.list
      .sort(order)
      .map((each) => [each.video, each.start, each.end, each.label, each.x ?? "", each.y ?? "", each.at ?? ""])
      .map((values) => values.map(field).join(","));
    return ["video,start,end,label,x,y,at", ...lines].map((line) => `${line}\r\n`).join("");
  }

  download() {
    const file = new Blob([this.asCsv()], { type: "text/csv" });
    const link = h("a", { href: URL.createObjectURL(file), download: "corrections.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
})();

/** The tab: all of them, with the latest first; the page would grow too long with thousands. */
const MOST_LISTED = 500;

function showCorrections() {
  const list = corrections.list.reverse();
  byId("corrections-count").textContent = count(list.length);
  byId("download").hidden = !list.length;
  byId("download").textContent = `Download ${counted(list.length, "correction")}`;
  const lost = "This browser keeps nothing between visits, so download the corrections before you close the page.";
  const hint = list.length
    ? "They are kept in this browser until you remove them. “poseact train corrections.csv” learns from the CSV that you download."
    : "Nothing is corrected yet: step through Review, or open a clip from a timeline.";
  const left =
    list.length > MOST_LISTED ? `These are the latest ${MOST_LISTED}; the download has all ${count(list.length)}.` : "";
  const prominent = list.some((each) => each.person >= 0 && each.at === undefined)
    ? "Of some corrections the page does not know where in the picture the person is; from these “poseact train” learns of the most prominent person of the clip."
    : "";
  const said = [corrections.isKept ? "" : lost, hint, prominent, left]
    .filter(Boolean)
    .map((text) => h("p", { class: "notice" }, text));
  byId("corrections").replaceChildren(...said, ...(list.length ? [correctionsTable(list.slice(0, MOST_LISTED))] : []));
}

function correctionsTable(list) {
  const heads = ["Video", "From", "To", "The model says", "You say", ""].map((text) => h("th", { scope: "col" }, text));
  const lines = list.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, each.video),
      h("td", {}, clock(each.start)),
      h("td", { class: "until" }, clock(each.end)),
      h("td", {}, each.was),
      h("td", { class: "said" }, each.label === each.was ? `✓ ${each.label}` : each.label),
      h(
        "td",
        {},
        h(
          "button",
          {
            type: "button",
            "aria-label": `Remove: ${each.label}, ${each.video}`,
            click: () => corrections.remove(each.key),
          },
          "Remove",
        ),
      ),
    ),
  );
  return h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...lines));
}
