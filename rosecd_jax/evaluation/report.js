"use strict";

/* The table of files: sorted, filtered, for one measure at a time. */
class FileTable {
  constructor(data, listen) {
    this.data = data;
    this.listen = listen;
    this.element = document.getElementById("table");
    this.measure = 0;
    this.column = 0;
    this.down = false;
    this.most = 100; // rows that are shown before "Show all"
    document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
    for (const id of ["view", "which", "words"]) {
      document.getElementById(id).addEventListener("input", () => this.draw());
    }
    document.getElementById("more").addEventListener("click", () => {
      this.most = Infinity;
      this.draw();
    });
  }

  get differences() {
    return document.getElementById("view").value === "differences" && this.data.baseline !== null;
  }

  /* A file's score; as a difference, positive is more, not better. */
  score(file, system, difference) {
    const value = file.scores[system][this.measure];
    if (!difference) return value;
    const before = file.scores[this.data.baseline][this.measure];
    return value === null || before === null ? null : value - before;
  }

  /* 1 for better than the baseline, -1 for worse, 0 for neither or unknown. */
  change(file, system) {
    const { better, digits } = this.data.measures[this.measure];
    if (!better || this.data.baseline === null) return 0;
    const difference = this.score(file, system, true) ?? 0;
    if (Math.abs(difference) < 0.5 * 10 ** -digits) return 0;
    return Math.sign(difference) * (better === "lower" ? -1 : 1);
  }

  columns() {
    const { digits } = this.data.measures[this.measure];
    const fixed = (places) => (value) => (value === null ? "–" : printed(value, places));
    const signed = (value) => (value > 0 ? "+" : "") + printed(value, digits);
    const found = [
      { title: "File", value: (file) => file.file, text: true },
      { title: "Seconds", value: (file) => file.seconds, show: fixed(1) },
      { title: "Input SNR (dB)", value: (file) => file.snr, show: fixed(1) },
    ];
    this.data.columns.forEach((title, i) => found.push({ title, value: (file) => file.columns[i], text: true }));
    this.data.systems.forEach((title, system) => {
      const difference = this.differences && system !== this.data.baseline;
      found.push({
        title,
        system,
        value: (file) => this.score(file, system, difference),
        show: difference ? (value) => (value === null ? "–" : signed(value)) : fixed(digits),
      });
    });
    const noted = this.data.files.some((file) => file.notes.length);
    if (noted) found.push({ title: "Notes", value: (file) => file.notes.join("; "), text: true, wide: true });
    return found;
  }

  wanted(file) {
    const which = document.getElementById("which").value;
    const others = this.data.systems.map((_, i) => i).filter((i) => i !== this.data.baseline);
    if (which === "worse" && !others.some((i) => this.change(file, i) < 0)) return false;
    if (which === "better" && !others.every((i) => this.change(file, i) > 0)) return false;
    if (which === "notes" && !file.notes.length) return false;
    if (which === "players" && file.card === null) return false;
    const words = document.getElementById("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = [file.file, ...file.columns, ...file.notes].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  }

  /* Unknown values come last in both orders. */
  sorted(files, column) {
    const sign = this.down ? -1 : 1;
    const known = (file) => column.value(file) !== null && column.value(file) !== "";
    const compare = column.text
      ? (one, other) => String(column.value(one)).localeCompare(String(column.value(other)), "en", { numeric: true })
      : (one, other) => column.value(one) - column.value(other);
    return files.sort((one, other) => {
      if (!known(one) || !known(other)) return known(other) - known(one);
      return sign * compare(one, other);
    });
  }

  sort(column) {
    this.down = column === this.column ? !this.down : false;
    this.column = column;
    this.draw();
    this.element.querySelectorAll("thead button")[column].focus();
  }

  draw() {
    const columns = this.columns();
    const files = this.sorted(this.data.files.filter((file) => this.wanted(file)), columns[this.column]);
    const shown = files.slice(0, this.most);
    const head = make("tr");
    columns.forEach((column, i) => head.append(this.head(column, i)));
    this.element.tHead.replaceChildren(head);
    this.element.tBodies[0].replaceChildren(...shown.map((file) => this.row(file, columns)));
    const all = this.data.files.length;
    document.getElementById("count").textContent =
      `${files.length} of ${all} files` + (shown.length < files.length ? `, the first ${shown.length} shown` : "");
    document.getElementById("more").hidden = shown.length === files.length;
  }

  head(column, i) {
    const cell = make("th", column.text ? "text" : "");
    const button = make("button", "", column.title);
    const sorted = i === this.column;
    cell.scope = "col";
    cell.setAttribute("aria-sort", sorted ? (this.down ? "descending" : "ascending") : "none");
    button.type = "button";
    button.addEventListener("click", () => this.sort(i));
    cell.append(button);
    return cell;
  }

  row(file, columns) {
    const row = make("tr");
    columns.forEach((column, i) => {
      const value = column.value(file);
      const cell = make(i ? "td" : "th", column.text ? "text" : "");
      if (column.wide) cell.classList.add("wide");
      if (!i) cell.scope = "row";
      if (!i && file.card !== null) cell.append(this.link(file));
      cell.append(column.show ? column.show(value) : String(value));
      const change = column.system === undefined ? 0 : this.change(file, column.system);
      if (change) cell.classList.add(change > 0 ? "gain" : "loss");
      row.append(cell);
    });
    return row;
  }

  link(file) {
    const button = make("button", "listen", "▶");
    button.type = "button";
    button.setAttribute("aria-label", `Listen to ${file.file}`);
    button.addEventListener("click", () => this.listen(file.card));
    return button;
  }
}

/* Format a number with a real minus sign, and no sign before zero. */
function printed(value, places) {
  const words = value.toFixed(places);
  return Number(words) === 0 ? words.replace("-", "") : words.replace("-", "−");
}

/* The recordings with players. */
class Cards {
  constructor(data, player) {
    this.player = player;
    this.elements = [...document.querySelectorAll(".card")];
    this.elements.forEach((element, card) => {
      connectControls(player, element, () => card);
      for (const panel of element.querySelectorAll("button.panel")) {
        panel.addEventListener("click", () => this.choose(card, Number(panel.dataset.sound), true));
      }
    });
    const loop = document.getElementById("loop");
    loop.addEventListener("change", () => player.repeat(loop.checked));
    player.watch(() => this.mark());
  }

  async choose(card, sound, play) {
    const loaded = this.player.load(card);
    this.player.select(sound);
    await (play ? this.player.play(card) : loaded);
  }

  /* Scroll to a recording. */
  open(card) {
    this.elements[card].scrollIntoView({ block: "start" });
    this.elements[card].querySelector(".play").focus({ preventScroll: true });
  }

  mark() {
    this.elements.forEach((element, card) => {
      const mine = card === this.player.card;
      if (!mine && !element.classList.contains("active")) return;
      element.classList.toggle("active", mine);
      const share = this.player.duration ? (100 * this.player.position) / this.player.duration : 0;
      element.style.setProperty("--position", `${share}%`);
      for (const panel of element.querySelectorAll("button.panel")) {
        panel.setAttribute("aria-pressed", String(mine && Number(panel.dataset.sound) === this.player.sound));
      }
    });
  }

  /* The recording that keys control: the focused one, else the one played last, else the first visible. */
  meant() {
    const focused = document.activeElement.closest(".card");
    if (focused) return Number(focused.dataset.card);
    if (this.player.card >= 0) return this.player.card;
    return Math.max(0, this.elements.findIndex((element) => element.getBoundingClientRect().bottom > 80));
  }

  key(event) {
    if (!this.elements.length) return false;
    const card = this.meant();
    if (event.key === " ") {
      const other = event.target.closest("button, a, summary, [type=checkbox]");
      if (other && !other.closest(".card")) return false;
      this.player.toggle(card);
    } else if (/^[1-9]$/.test(event.key)) {
      this.choose(card, Number(event.key) - 1, false);
    } else if (["ArrowLeft", "ArrowRight"].includes(event.key) && card === this.player.card) {
      if (event.target.closest(".scroll, [type=range]")) return false;
      this.player.seek(this.player.position + (event.key === "ArrowLeft" ? -1 : 1));
    } else {
      return false;
    }
    return true;
  }
}

/* Synchronize the selects of a measure, and show its charts. */
function connectMeasures(data, table) {
  const selects = document.querySelectorAll("select.measure");
  const choose = (name) => {
    for (const select of selects) select.value = name;
    for (const element of document.querySelectorAll(".conditions")) element.hidden = element.dataset.measure !== name;
    table.measure = data.measures.findIndex((measure) => measure.name === name);
    table.draw();
  };
  for (const select of selects) select.addEventListener("change", () => choose(select.value));
  choose(selects[0].value);
}

function startReport() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const player = new Player(data.cards);
  const cards = new Cards(data, player);
  const table = new FileTable(data, (card) => cards.open(card));
  const blind = new BlindSession(data, player);
  connectMeasures(data, table);
  document.addEventListener("keydown", (event) => {
    if (isTyping(event)) return;
    if (blind.active ? blind.key(event) : cards.key(event)) event.preventDefault();
  });
  /* Buttons are activated when the space bar is released, which is also prevented. */
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.closest(".card button, #blind-trial button:not(.buttons button)")) event.preventDefault();
  });
  /* For tests and other scripts: the current sound and position. */
  window.rosecdReport = { player, blind };
}

startReport();
