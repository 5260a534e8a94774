// Elements from data. Text only ever becomes text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Writes only what has changed, so that a selection survives.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const rowsOf = new WeakMap();

// The children of `parent` are those of `items`, by key: kept where they are there already, so that focus stays.
export function keyed(parent, items, keyOf, make, update) {
  if (!rowsOf.has(parent)) rowsOf.set(parent, new Map());
  const known = rowsOf.get(parent);
  const seen = new Set();
  let before = parent.firstChild;
  for (const item of items) {
    let key = keyOf(item);
    while (seen.has(key)) key = `${key} again`;
    seen.add(key);
    let row = known.get(key);
    if (!row) known.set(key, (row = make(item)));
    update(row, item);
    if (row.node === before) before = before.nextSibling;
    else parent.insertBefore(row.node, before);
  }
  for (const [key, row] of known) {
    if (!seen.has(key)) {
      row.node.remove();
      known.delete(key);
    }
  }
}

let lastId = 0;

export function newId() {
  lastId += 1;
  return `id-${lastId}`;
}
