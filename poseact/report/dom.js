/** Elements, and how numbers are said. Texts only ever become text nodes, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
const byId = (id) => document.getElementById(id);

/** An element; what is no attribute of it (a function, `text`, a custom property `--x`) is set as such. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function svg(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function setAttribute(element, name, value) {
  if (typeof value === "function") element.addEventListener(name, value);
  else if (name.startsWith("--")) element.style.setProperty(name, value);
  else if (value === true) element.setAttribute(name, "");
  else if (value !== false && value !== null) element.setAttribute(name, value);
}

/** A file's name that may go to a new line after what separates its parts. */
const breakable = (name) => name.split(/(?<=[_/.\-\\])/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));

/** 5.25 -> "5.3 s", 65.2 -> "1:05", 3723 -> "1:02:03". */
function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

/** As `duration`, but short enough to stand beside another: 65.2 -> "1:05.2". */
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = ((tenths % 600) / 10).toFixed(1);
  return `${Math.floor(tenths / 600)}:${rest.padStart(4, "0")}`;
}

/** Thousandths -> "87 %"; -1 -> "–". */
const percent = (thousandths) => (thousandths < 0 ? "–" : `${Math.round(thousandths / 10)}\u00a0%`);

/** 5000 -> "5,000". */
const count = (number) => number.toLocaleString("en-US");

/** "1 clip", "5,000 clips". */
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
