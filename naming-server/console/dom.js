// Elements from texts. A text becomes a text node, never markup: nothing in these files reads a
// string as HTML, and a test of the server looks for every way to do that.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. `on…` are listeners, `value` and `checked` properties, all else attributes. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same of SVG. */
export function s(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  element.append(...nodes(children));
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) listen(element, name.slice(2), value);
    else if (name === 'value' || name === 'checked') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

// Listeners stand beside the element, so that an element that is kept can be given newer ones.
function listen(element, type, listener) {
  element.listeners ??= {};
  if (!element.listeners[type]) element.addEventListener(type, dispatch);
  element.listeners[type] = listener;
}

function dispatch(event) {
  return event.currentTarget.listeners?.[event.type]?.(event);
}

/**
 * Makes the children of `target` those of `wanted`, and keeps the elements that are alike: whoever has
 * the focus, types or has opened something is not disturbed by an update.
 */
export function update(target, ...wanted) {
  sync(target, nodes(wanted));
}

function sync(target, wanted) {
  const keyed = new Map();
  for (const child of target.childNodes) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  // What is gone goes first, so that the rest need not move: an element that moves loses the focus.
  const kept = new Set(wanted.map((next) => next.dataset?.key));
  for (const [key, child] of keyed) if (!kept.has(key)) child.remove();
  let at = target.firstChild;
  for (const next of wanted) {
    const key = next.dataset?.key;
    let old = key ? keyed.get(key) : at;
    if (old && !key && old.dataset?.key) old = null;
    if (old && isAlike(old, next)) {
      if (old === at) at = at.nextSibling;
      else target.insertBefore(old, at);
      adopt(old, next);
    } else {
      target.insertBefore(next, at);
      if (at && !key && !at.dataset?.key) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function isAlike(old, next) {
  return old.nodeType === next.nodeType && old.nodeName === next.nodeName
    && (old.dataset?.key ?? '') === (next.dataset?.key ?? '') && old.id === next.id;
}

function adopt(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whoever has opened something keeps it open.
    if (!next.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const [type, listener] of Object.entries(next.listeners ?? {})) listen(old, type, listener);
  if (old.matches('select') && old !== document.activeElement) {
    sync(old, [...next.childNodes]);
    old.value = next.value;
    return;
  }
  if (old.matches('input, select, textarea')) return;
  sync(old, [...next.childNodes]);
}
