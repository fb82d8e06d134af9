/* Figures that a reader moves. Every value comes from the page's own JSON,
   computed when the book was built: this script only draws what it is told. */
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  const make = (tag, attributes, colour) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes))
      element.setAttribute(name, value);
    element.style.color = colour;
    return element;
  };

  const animate = figure => {
    const source = figure.querySelector('script[type="application/json"]');
    const data = JSON.parse(source.textContent);
    const svg = figure.querySelector("svg");
    const moving = svg.querySelector(".moving");
    const control = figure.querySelector(".control");
    const range = control.querySelector("input");
    const output = figure.querySelector("output");
    const [left, top, right, bottom] = data.box;
    const place = ([low, high], near, far, value) =>
      near + (value - low) / (high - low) * (far - near);
    const across = value => place(data.x, left, right, value);
    const up = value => place(data.y, bottom, top, value);

    const shapes = mark => {
      const points = mark.x.map((x, i) => [across(x), up(mark.y[i])]);
      if (mark.kind === "words") {
        const [x, y] = points[0];
        const words = make("text", {x, y}, mark.colour);
        words.textContent = mark.label;
        return [words];
      }
      if (mark.kind === "dots" || mark.kind === "circle")
        return points.map(([cx, cy]) =>
          make("circle", {class: mark.kind, cx, cy, r: 5}, mark.colour));
      return [make("polyline",
        {class: mark.kind, points: points.join(" ")}, mark.colour)];
    };

    const show = index => {
      const frame = data.frames[index];
      moving.replaceChildren(...frame.marks.flatMap(shapes));
      range.setAttribute("aria-valuetext", frame.name);
      output.textContent = frame.text;
    };
    range.addEventListener("input", () => show(range.valueAsNumber));

    /* A pointer on the picture picks the frame whose place is nearest. */
    const pick = event => {
      const spot = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(svg.getScreenCTM().inverse());
      const far = frame => Math.abs(across(frame.at) - spot.x);
      const best = data.frames.reduce(
        (a, frame, i) => far(frame) < far(data.frames[a]) ? i : a, 0);
      if (best === range.valueAsNumber) return;
      range.value = best;
      show(best);
    };
    if (data.frames.every(frame => frame.at !== null)) {
      svg.classList.add("held");
      svg.addEventListener("pointerdown", event => {
        if (event.button) return;
        svg.setPointerCapture(event.pointerId);
        pick(event);
      });
      svg.addEventListener("pointermove", event => {
        if (svg.hasPointerCapture(event.pointerId)) pick(event);
      });
    }
    control.hidden = false;
    /* A browser may keep the slider where it was on an earlier visit. */
    show(range.valueAsNumber);
  };

  document.querySelectorAll("figure.interactive").forEach(animate);
})();
