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
    const choices = [...figure.querySelectorAll(".choices select")];
    const tinted = svg.querySelectorAll(".still .points");
    const output = figure.querySelector("output");
    const [left, top, right, bottom] = data.box;
    const place = ([low, high], near, far, value) =>
      near + (value - low) / (high - low) * (far - near);
    const across = value => place(data.x, left, right, value);
    const up = value => place(data.y, bottom, top, value);

    /* Component colours in these shares; the page mixes them. */
    const blend = shares => {
      let mixed = "", total = 0;
      shares.forEach((share, k) => {
        total += share;
        const part = Math.round(100 * share / total);
        if (share === total) mixed = data.palette[k];
        else if (share)
          mixed = `color-mix(in srgb, ${data.palette[k]} ${part}%, ${mixed})`;
      });
      return mixed;
    };

    /* One coordinate of an ellipse: its centre, and two half-axes' ends. */
    const outline = ([centre, one, other]) =>
      Array.from({length: 49}, (_, i) => i * Math.PI / 24).map(angle =>
        centre + (one - centre) * Math.cos(angle)
          + (other - centre) * Math.sin(angle));

    const radius = {dots: 5, circle: 5, points: 3};
    const shapes = mark => {
      const [xs, ys] = mark.kind === "ellipse"
        ? [outline(mark.x), outline(mark.y)] : [mark.x, mark.y];
      const points = xs.map((x, i) => [across(x), up(ys[i])]);
      if (mark.kind === "words") {
        const [x, y] = points[0];
        const words = make("text", {x, y}, mark.colour);
        words.textContent = mark.label;
        return [words];
      }
      if (mark.kind in radius)
        return points.map(([cx, cy]) => make("circle",
          {class: mark.kind, cx, cy, r: radius[mark.kind]}, mark.colour));
      /* Each bar has two points, opposite corners. */
      if (mark.kind === "bars")
        return points.flatMap(([x, y], i) => {
          if (i % 2) return [];
          const [far, end] = points[i + 1];
          return [make("rect", {class: "bars",
            x: Math.min(x, far), y: Math.min(y, end),
            width: Math.abs(far - x), height: Math.abs(end - y)},
          mark.colour)];
        });
      return [make("polyline",
        {class: mark.kind, points: points.join(" ")}, mark.colour)];
    };

    /* Frames stand run by run, the last choice changing fastest. */
    const first = () => data.run * choices.reduce(
      (way, choice) => way * choice.length + choice.selectedIndex, 0);
    const show = () => {
      const frame = data.frames[first() + range.valueAsNumber];
      moving.replaceChildren(...frame.marks.flatMap(shapes));
      if (frame.resp)
        tinted.forEach((dot, i) => dot.style.color = blend(frame.resp[i]));
      range.setAttribute("aria-valuetext", frame.name);
      output.textContent = frame.text;
    };
    for (const input of [range, ...choices])
      input.addEventListener("input", show);

    /* A pointer on the picture picks the frame whose place is nearest. */
    const pick = event => {
      const spot = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(svg.getScreenCTM().inverse());
      const run = data.frames.slice(first(), first() + data.run);
      const far = frame => Math.abs(across(frame.at) - spot.x);
      const best = run.reduce(
        (a, frame, i) => far(frame) < far(run[a]) ? i : a, 0);
      if (best === range.valueAsNumber) return;
      range.value = best;
      show();
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
    for (const part of figure.querySelectorAll(".control, .choices"))
      part.hidden = false;
    /* A browser may keep the slider where it was on an earlier visit. */
    show();
  };

  document.querySelectorAll("figure.interactive").forEach(animate);
})();
