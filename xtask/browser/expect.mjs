// What must hold wherever one looks.

export function same(found, wanted, what) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (one !== other) throw new Error(`${what ?? 'expected'}: ${one} is not ${other}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

/** Nothing stands out of the window, and no text is cut off. */
export async function fits(page, what) {
  const found = await page.evaluate(() => {
    const wide = document.documentElement.clientWidth;
    const troubles = [];
    if (document.documentElement.scrollWidth > wide) troubles.push(`the page is ${document.documentElement.scrollWidth} wide`);
    for (const element of document.querySelectorAll('body *')) {
      const box = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      if (!box.width || style.position === 'absolute' || element.closest('svg, caption, thead, .skip')) continue;
      const name = `${element.nodeName} ${element.className} ${element.textContent.slice(0, 40)}`;
      if (box.right > wide + 1 || box.left < -1) troubles.push(`${name} goes from ${box.left} to ${box.right}`);
      if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth && style.overflowX !== 'visible' && !element.matches('input, select, textarea')) troubles.push(`${name} is cut off`);
    }
    return troubles.slice(0, 5);
  });
  same(found, [], `${what} at ${page.viewportSize().width} pixels`);
}

/** Each control has a name, no two elements have one id, and headings are there. */
export async function isLabelled(page, what) {
  const found = await page.evaluate(() => {
    const nameless = [...document.querySelectorAll('button, a, input, select, textarea')].filter((element) => {
      const label = element.closest('label')?.textContent ?? '';
      return !(element.getAttribute('aria-label') ?? (element.textContent || label)).trim();
    }).map((element) => element.outerHTML.slice(0, 80));
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
    return { nameless, twice, headings: document.querySelectorAll('h1').length };
  });
  same(found, { nameless: [], twice: [], headings: 1 }, what);
}

/** Texts stand out from their grounds by at least 4.5 to 1. */
export async function isReadable(page, what) {
  const found = await page.evaluate(() => {
    const parse = (color) => color.match(/[\d.]+/g).map(Number);
    const light = (color) => {
      const [r, g, b] = parse(color).map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if (parse(color)[3] !== 0) return color;
      }
      return 'rgb(255, 255, 255)';
    };
    const troubles = [];
    for (const element of document.querySelectorAll('main *, .side *, .top *')) {
      const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      if (!hasText || element.matches(':disabled, option') || element.closest('caption')) continue;
      const [one, other] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
      const contrast = (one + 0.05) / (other + 0.05);
      if (contrast < 4.5) troubles.push(`${element.nodeName} ${element.className} "${element.textContent.slice(0, 30)}": ${contrast.toFixed(2)}`);
    }
    return [...new Set(troubles)].slice(0, 6);
  });
  same(found, [], what);
}
