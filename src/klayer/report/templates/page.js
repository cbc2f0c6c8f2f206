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
  const say = () => button.setAttribute("aria-pressed", String(dark()));
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.scheme = dark() ? "light" : "dark";
      say();
    });
    media.addEventListener("change", say);
    say();
  }
})();
