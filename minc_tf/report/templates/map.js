"use strict";
(() => {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const box = document.querySelector(".map");
  const svg = box.querySelector("svg.points");
  const tip = box.querySelector(".tip");
  const thumb = tip.querySelector(".thumb");
  const text = tip.querySelector("span");
  const groups = svg.querySelectorAll("g");
  const ring = document.createElementNS(svg.namespaceURI, "circle");
  let current = -1;

  ring.setAttribute("r", 13);
  ring.setAttribute("class", "ring");
  ring.style.display = "none";
  svg.append(ring);
  for (const title of svg.querySelectorAll("title")) title.remove();
  box.querySelector(".hint").hidden = false;
  svg.tabIndex = 0;
  tip.setAttribute("role", "status");
  thumb.style.backgroundSize = `${100 * data.across}%`;

  const cell = (index) =>
    data.across > 1 ? (100 * index) / (data.across - 1) : 0;

  function show(index) {
    current = index;
    const [x, y] = data.points[index];
    const across = index % data.across;
    const down = Math.floor(index / data.across);
    thumb.style.backgroundPosition = `${cell(across)}% ${cell(down)}%`;
    text.textContent = data.names[index];
    tip.hidden = false;
    ring.style.display = "";
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    const frame = box.getBoundingClientRect();
    const area = svg.getBoundingClientRect();
    const scale = area.width / svg.viewBox.baseVal.width;
    const left = area.left - frame.left + x * scale - tip.offsetWidth / 2;
    const most = frame.width - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(left, most))}px`;
    const top = area.top - frame.top + y * scale;
    const above = top - tip.offsetHeight - 12;
    tip.style.top = `${above > 0 ? above : top + 12}px`;
  }

  function hide() {
    tip.hidden = true;
    ring.style.display = "none";
  }

  function nearest(x, y, accept) {
    let best = -1;
    let least = Infinity;
    data.points.forEach(([px, py], index) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least && accept(px - x, py - y)) {
        best = index;
        least = distance;
      }
    });
    return [best, Math.sqrt(least)];
  }

  function point(event) {
    const area = svg.getBoundingClientRect();
    const scale = area.width / svg.viewBox.baseVal.width;
    const x = (event.clientX - area.left) / scale;
    const y = (event.clientY - area.top) / scale;
    const [index, distance] = nearest(x, y, () => true);
    if (distance * scale < 16) show(index);
    else hide();
  }

  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("focus", () => show(Math.max(current, 0)));

  const ways = {
    ArrowLeft: (x, y) => x < 0 && Math.abs(y) <= -x,
    ArrowRight: (x, y) => x > 0 && Math.abs(y) <= x,
    ArrowUp: (x, y) => y < 0 && Math.abs(x) <= -y,
    ArrowDown: (x, y) => y > 0 && Math.abs(x) <= y,
  };
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const accept = ways[event.key];
    if (!accept) return;
    event.preventDefault();
    const [x, y] = data.points[Math.max(current, 0)];
    const [index] = nearest(x, y, accept);
    if (index >= 0) show(index);
  });

  for (const entry of box.querySelectorAll(".classes li")) {
    const own = groups[Number(entry.dataset.group)];
    const mark = () => {
      for (const group of groups) group.classList.toggle("dim", group !== own);
    };
    const clear = () => {
      for (const group of groups) group.classList.remove("dim");
    };
    entry.tabIndex = 0;
    entry.addEventListener("pointerenter", mark);
    entry.addEventListener("focus", mark);
    entry.addEventListener("pointerleave", clear);
    entry.addEventListener("blur", clear);
  }
})();
