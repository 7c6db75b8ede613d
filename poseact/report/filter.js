/** Which rows are shown. Each condition has a bit, so that a chart can leave out its own. */

const BY_LABEL = 1;
const BY_SCORE = 2;
const BY_REST = 4;
const BY_ALL = 7;

/** labels: codes, none means all. low, high: thousandths, [low, high) but for the highest score there is. people: in the clip; 3 means three or more. */
const NO_FILTER = { text: "", labels: new Set(), low: 0, high: 1000, person: null, people: null };

const filter = new (class extends EventTarget {
  wanted = { ...NO_FILTER };
  mask = new Uint8Array(ROWS).fill(BY_ALL);
  videos = [];
  rows = 0;

  /** Ask for something else; what is not named stays. */
  set(change) {
    this.wanted = { ...this.wanted, ...change };
    this.apply();
    this.dispatchEvent(new Event("change"));
  }

  shows(row) {
    return this.mask[row] === BY_ALL;
  }

  /** Whether a row meets all conditions but one. */
  showsBut(row, condition) {
    return (this.mask[row] | condition) === BY_ALL;
  }

  get isOnRows() {
    const { labels, low, high, person, people } = this.wanted;
    return labels.size > 0 || low > 0 || high < 1000 || person !== null || people !== null;
  }

  apply() {
    const text = this.wanted.text.toLowerCase();
    this.videos = [];
    this.rows = 0;
    for (let video = 0; video < VIDEOS; video++) {
      const named = !text || videos.name[video].toLowerCase().includes(text);
      const shown = this.applyTo(video, named);
      this.rows += shown;
      if (named && (shown || !this.isOnRows)) this.videos.push(video);
    }
  }

  applyTo(video, named) {
    const { labels, low, high, person, people } = this.wanted;
    let shown = 0;
    for (let row = firstRow[video]; row < firstRow[video + 1]; row++) {
      let bits = 0;
      if (!labels.size || labels.has(code[row])) bits |= BY_LABEL;
      if (isBetween(rows.score[row], low, high)) bits |= BY_SCORE;
      if (named && (person === null || rows.person[row] === person) && hasPeople(row, people)) bits |= BY_REST;
      this.mask[row] = bits;
      shown += bits === BY_ALL ? 1 : 0;
    }
    return shown;
  }
})();

/** What has no score is shown only among all. */
function isBetween(score, low, high) {
  if (score < 0) return low === 0 && high === 1000;
  return score >= low && (score < high || high === 1000);
}

function hasPeople(row, people) {
  return people === null || (people === 3 ? rows.persons[row] >= 3 : rows.persons[row] === people);
}
