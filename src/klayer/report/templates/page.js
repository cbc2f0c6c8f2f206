"use strict";
(() => {
  // Charts are made when they come near: until then, and wherever scripts don't run, and in print,
  // the static picture stands in their place.
  const options = { actions: false, renderer: "svg", ast: false };
  const draw = async (box) => {
    const live = box.querySelector(".live");
    const spec = JSON.parse(document.getElementById(box.dataset.spec).textContent);
    try {
      await window.klayerEmbed(live, spec, options);
      box.classList.add("drawn");
    } catch (error) {
      console.error(error);
    }
  };
  const boxes = [...document.querySelectorAll(".chart[data-spec]")];
  if ("IntersectionObserver" in window) {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watcher.unobserve(entry.target);
          draw(entry.target);
        }
      }
    }, { rootMargin: "600px" });
    boxes.forEach((box) => watcher.observe(box));
  } else {
    boxes.forEach(draw);
  }
  // A chart inside a closed <details> has no width: draw it when it opens.
  document.querySelectorAll("details").forEach((d) => d.addEventListener("toggle", () => {
    window.dispatchEvent(new Event("resize"));
  }));

  const root = document.documentElement;
  const button = document.getElementById("scheme");
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.scheme ? root.dataset.scheme === "dark" : media.matches);
  // The button says what it does.
  const say = () => { button.textContent = dark() ? "Light colours" : "Dark colours"; };
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.scheme = dark() ? "light" : "dark";
      try { localStorage.setItem("klayer-scheme", root.dataset.scheme); } catch { /* not remembered */ }
      say();
    });
    media.addEventListener("change", say);
    say();
  }

  // Values by keyboard and by tap: the marks that have values get the event that a pointer makes.
  const said = document.getElementById("said");
  const marks = (box) => [...box.querySelectorAll(".live svg path")].filter(
    (path) => path.__data__ && path.__data__.tooltip !== undefined && path.__data__.tooltip !== null);
  const show = (path) => {
    path.scrollIntoView({ block: "nearest", inline: "nearest" });
    const at = path.getBoundingClientRect();
    const where = { bubbles: true, clientX: at.x + at.width / 2, clientY: at.y + at.height / 2 };
    for (const kind of ["pointerover", "pointermove"]) {
      path.dispatchEvent(new PointerEvent(kind, { ...where, pointerType: "mouse" }));
    }
    const tip = document.querySelector("#vg-tooltip-element.visible");
    if (tip && said) said.textContent = tip.innerText.replace(/\s+/g, " ");
  };
  const leave = (path) => {
    for (const kind of ["pointerout"]) {
      path.dispatchEvent(new PointerEvent(kind, { bubbles: true, pointerType: "mouse" }));
    }
  };
  const ordered = (box) => marks(box).map((path) => [path.getBoundingClientRect(), path])
    .sort(([a], [b]) => (a.x + a.width / 2) - (b.x + b.width / 2) || a.y - b.y)
    .map(([, path]) => path);
  boxes.forEach((box) => {
    let place = -1;
    let last = null;
    const go = (step, end) => {
      const all = ordered(box);
      if (!all.length) return;
      if (last) leave(last);
      place = end === undefined ? Math.min(all.length - 1, Math.max(0, place + step)) : (end ? all.length - 1 : 0);
      last = all[place];
      show(last);
    };
    box.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in steps) go(steps[event.key]);
      else if (event.key === "Home") go(0, false);
      else if (event.key === "End") go(0, true);
      else if (event.key === "Escape" && last) { leave(last); last = null; place = -1; return; }
      else return;
      event.preventDefault();
    });
    box.addEventListener("focus", () => { if (!box.classList.contains("drawn")) draw(box); });
    box.addEventListener("blur", () => { if (last) leave(last); last = null; place = -1; });
    box.addEventListener("pointerup", (event) => {
      if (event.pointerType !== "touch") return;
      const all = marks(box);
      if (!all.length) return;
      const near = (path) => {
        const at = path.getBoundingClientRect();
        return Math.hypot(at.x + at.width / 2 - event.clientX, (at.y + at.height / 2 - event.clientY) / 4);
      };
      if (last) leave(last);
      last = all.reduce((best, path) => (near(path) < near(best) ? path : best));
      // After the browser's own mouse events for this tap, which would hide it again.
      setTimeout(() => show(last), 60);
    });
  });
})();
