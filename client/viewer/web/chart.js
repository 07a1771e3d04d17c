// Small SVG drawings.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 120;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function frame(label) {
  const svg = element("svg", { viewBox: `-4 -8 ${WIDTH + 8} ${HEIGHT + 26}`, role: "img", "aria-label": label });
  svg.append(element("line", { class: "axis", x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT }));
  return svg;
}

// ᾱ over t, with a mark for where a chain is.
export class Schedule {
  constructor(parent, alphaBars) {
    const last = Math.max(1, alphaBars.length - 1);
    this.last = last;
    const svg = frame("The schedule: alpha-bar falls from 1 to 0 as t grows");
    const points = alphaBars.map((a, t) => `${((t / last) * WIDTH).toFixed(1)},${((1 - a) * HEIGHT).toFixed(1)}`);
    this.mark = element("circle", { class: "mark", r: 5, visibility: "hidden" });
    svg.append(
      element("polyline", { class: "curve", points: points.join(" ") }),
      element("text", { x: 0, y: HEIGHT + 15 }, "t = 0: clean"),
      element("text", { x: WIDTH, y: HEIGHT + 15, "text-anchor": "end" }, `t = ${last}: noise`),
      this.mark,
    );
    parent.replaceChildren(svg);
  }

  // A timestep below 0 is a clean picture.
  show(timestep, alphaBar) {
    this.mark.setAttribute("cx", (Math.max(0, timestep) / this.last) * WIDTH);
    this.mark.setAttribute("cy", (1 - alphaBar) * HEIGHT);
    this.mark.setAttribute("visibility", "visible");
  }
}

const LEAST = 1e-6; // bits; smaller terms are drawn as this

// Bits per dimension of each term, over t; logarithmic, as the terms near t = 0 are thousands of times the others.
export function terms(parent, values, last) {
  const svg = frame("The terms of the bound over t, on a logarithmic scale");
  const most = Math.max(10 * LEAST, ...values.map(([, bits]) => bits));
  for (const [t, bits] of values) {
    const height = Math.max(1, (Math.log(Math.max(LEAST, bits) / LEAST) / Math.log(most / LEAST)) * HEIGHT);
    svg.append(element("rect", { class: "bar", x: (t / last) * (WIDTH - 3), y: HEIGHT - height, width: 3, height }));
  }
  svg.append(
    element("text", { x: 0, y: HEIGHT + 15 }, "t = 0, log scale"),
    element("text", { x: WIDTH, y: HEIGHT + 15, "text-anchor": "end" }, `t = ${last}`),
  );
  parent.replaceChildren(svg);
}
