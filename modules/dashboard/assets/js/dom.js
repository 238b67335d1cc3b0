// Elements are made here and nowhere else: every text is a text node, so that no name or log line
// becomes markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

// Replaces the content of an element, and nothing if it is a text that has not changed.
export function put(element, ...children) {
  if (children.length === 1 && typeof children[0] !== "object") {
    const text = String(children[0]);
    if (element.textContent !== text || element.childElementCount) element.textContent = text;
    return element;
  }
  element.replaceChildren();
  append(element, children);
  return element;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Keeps one child for each item: `make` returns {node, update}; only what has changed is touched.
export function keyed(container, make) {
  const parts = new Map();
  return (items, key) => {
    const wanted = new Set();
    let place = container.firstElementChild;
    for (const item of items) {
      const name = key(item);
      if (wanted.has(name)) continue;
      wanted.add(name);
      let part = parts.get(name);
      if (!part) {
        part = make(item);
        parts.set(name, part);
      }
      part.update?.(item);
      if (part.node === place) place = place.nextElementSibling;
      else container.insertBefore(part.node, place);
    }
    for (const [name, part] of parts) {
      if (!wanted.has(name)) {
        part.node.remove();
        parts.delete(name);
      }
    }
    return parts;
  };
}

// Calls a function with the last arguments, at most once in each frame of the screen.
export function eachFrame(draw) {
  let waiting = null;
  return (...args) => {
    if (waiting === null) {
      requestAnimationFrame(() => {
        const last = waiting;
        waiting = null;
        draw(...last);
      });
    }
    waiting = args;
  };
}
