"use strict";

/* Blind listening: systems hidden and shuffled, rated from 0 to 100 or compared in pairs, saved as a file. */
class BlindSession {
  constructor(data, player) {
    this.data = data;
    this.player = player;
    this.root = document.getElementById("blind");
    this.parts = Object.fromEntries(
      ["setup", "trial", "end"].map((name) => [name, document.getElementById(`blind-${name}`)]),
    );
    this.trials = [];
    this.current = 0;
    this.saved = true;
    this.connect();
  }

  get active() {
    return !this.root.hidden;
  }

  get trial() {
    return this.trials[this.current];
  }

  find(part, selector) {
    return this.parts[part].querySelector(selector);
  }

  connect() {
    document.getElementById("blind-open").addEventListener("click", () => this.open());
    document.getElementById("blind-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start(new FormData(event.target));
    });
    for (const button of this.root.querySelectorAll(".leave")) {
      button.addEventListener("click", () => this.leave());
    }
    this.find("trial", ".next").addEventListener("click", () => this.next());
    this.find("trial", ".previous").addEventListener("click", () => this.show(this.current - 1));
    this.find("trial", ".stop").addEventListener("click", () => this.end());
    const repeat = this.find("trial", ".repeat");
    repeat.addEventListener("change", () => this.player.repeat(repeat.checked));
    this.find("end", ".save").addEventListener("click", () => this.save());
    this.find("end", ".reveal").addEventListener("click", () => this.reveal());
    connectControls(this.player, this.parts.trial, () => (this.active && this.trial ? this.trial.card : -1));
    addEventListener("beforeunload", (event) => {
      if (!this.saved && this.finished().length) event.preventDefault();
    });
  }

  open() {
    this.player.pause();
    document.body.classList.add("blind");
    this.root.hidden = false;
    this.turnTo("setup");
  }

  leave() {
    if (!this.saved && this.finished().length && !confirm("Leave without saving the ratings?")) return;
    this.saved = true;
    this.player.pause();
    this.player.matched = false;
    this.player.loading = null;
    this.player.repeat(document.getElementById("loop").checked);
    this.trials = [];
    this.root.hidden = true;
    document.body.classList.remove("blind");
    document.getElementById("blind-open").focus();
  }

  turnTo(name) {
    for (const [part, element] of Object.entries(this.parts)) element.hidden = part !== name;
    this.find(name, "h2").focus();
    scrollTo(0, 0);
  }

  start(form) {
    this.kind = form.get("kind");
    this.listener = form.get("listener").trim();
    this.name = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) =>
      byte.toString(16).padStart(2, "0"),
    ).join("");
    const all = this.kind === "mushra" ? this.ratingTrials() : this.pairTrials();
    this.trials = shuffled(all).slice(0, Number(form.get("most")));
    if (!this.trials.length) {
      alert("No recording has sounds of two systems.");
      return;
    }
    this.saved = false;
    this.player.matched = form.has("matched");
    this.player.loading = null; // so that levels are computed again
    this.player.repeat(this.find("trial", ".repeat").checked);
    this.turnTo("trial");
    this.show(0);
  }

  /* Of a recording: the places of its systems' sounds, and of the reference, which is the last. */
  places(card) {
    const all = this.data.cards[card].sounds.map((sound, place) => ({ ...sound, place }));
    const sounds = all.filter((sound) => !sound.error);
    return { systems: sounds.slice(0, -1), reference: sounds[sounds.length - 1] };
  }

  ratingTrials() {
    return this.data.cards.map((_, card) => {
      const { systems, reference } = this.places(card);
      const sounds = shuffled([...systems, reference]);
      return { card, reference, sounds, scores: sounds.map(() => null) };
    });
  }

  pairTrials() {
    return this.data.cards.flatMap((_, card) => {
      const { systems, reference } = this.places(card);
      const pairs = systems.flatMap((one, i) => systems.slice(i + 1).map((other) => [one, other]));
      return pairs.map((pair) => ({ card, reference, sounds: shuffled(pair), choice: null }));
    });
  }

  async show(number) {
    this.player.pause();
    this.current = Math.min(Math.max(number, 0), this.trials.length - 1);
    this.chosen = 0;
    const { trial, trials, current } = this;
    const what = this.kind === "mushra" ? "Recording" : "Comparison";
    this.find("trial", "h2").textContent = `${what} ${current + 1} of ${trials.length}`;
    this.find("trial", ".task").textContent =
      this.kind === "mushra"
        ? "Rate the overall quality of each sound. One of them is the reference, which should get 100."
        : "Which of the two sounds better?";
    this.find("trial", "progress").value = current / trials.length;
    this.find("trial", ".previous").disabled = current === 0;
    this.find("trial", ".next").textContent = current + 1 < trials.length ? "Next" : "Finish";
    this.find("trial", ".seek").max = this.data.cards[trial.card].seconds;
    this.draw();
    this.find("trial", "h2").focus();
    await this.player.load(trial.card);
    this.player.seek(0);
    this.player.select(trial.reference.place);
  }

  draw() {
    const { trial } = this;
    const rows = [this.row("0", "Reference", trial.reference.place)];
    trial.sounds.forEach((sound, i) => {
      const row = this.row(String(i + 1), letter(i), sound.place);
      if (this.kind === "mushra") row.append(...this.slider(i));
      rows.push(row);
    });
    if (this.kind === "preference") rows.push(this.choices());
    const scale = make("div", "grades");
    scale.append(...["bad", "poor", "fair", "good", "excellent"].map((word) => make("span", "", word)));
    if (this.kind === "mushra") rows.splice(1, 0, scale);
    this.find("trial", ".stimuli").replaceChildren(...rows);
    this.check();
    this.mark();
  }

  row(key, name, place) {
    const row = make("div", "stimulus");
    const button = make("button", "sound");
    button.type = "button";
    button.dataset.key = key;
    button.append(make("kbd", "", key), ` ${name}`);
    button.addEventListener("click", () => this.listen(Number(key), place));
    row.append(button);
    return row;
  }

  slider(i) {
    const { trial } = this;
    const input = make("input");
    const output = make("output", "score", trial.scores[i] === null ? "–" : String(trial.scores[i]));
    Object.assign(input, { type: "range", min: 0, max: 100, step: 1, value: trial.scores[i] ?? 50 });
    input.setAttribute("aria-label", `Quality of ${letter(i)}, from 0 to 100`);
    const rate = () => {
      trial.scores[i] = Number(input.value);
      output.textContent = input.value;
      this.check();
    };
    input.addEventListener("input", rate);
    input.addEventListener("pointerup", rate);
    return [input, output];
  }

  choices() {
    const { trial } = this;
    const field = make("fieldset", "choices");
    field.append(make("legend", "", "Your choice"));
    for (const [value, words] of [[0, "A is better"], [1, "B is better"], [-1, "No difference"]]) {
      const label = make("label");
      const input = Object.assign(make("input"), { type: "radio", name: "choice", checked: trial.choice === value });
      input.addEventListener("change", () => {
        trial.choice = value;
        this.check();
      });
      label.append(input, make("span", "", words));
      field.append(label);
    }
    return field;
  }

  async listen(chosen, place) {
    const { card } = this.trial;
    this.chosen = chosen;
    this.mark();
    this.player.load(card);
    this.player.select(place);
    await this.player.play(card);
  }

  /* Shows the chosen sound, not the audible one, which would reveal the hidden reference. */
  mark() {
    this.parts.trial.querySelectorAll(".sound").forEach((button, i) => {
      button.setAttribute("aria-pressed", String(i === this.chosen));
    });
  }

  isDone(trial) {
    return this.kind === "mushra" ? !trial.scores.includes(null) : trial.choice !== null;
  }

  finished() {
    return this.trials.filter((trial) => this.isDone(trial));
  }

  check() {
    const done = this.isDone(this.trial);
    this.find("trial", ".next").disabled = !done;
    const words = this.kind === "mushra" ? "Move every slider to continue." : "Choose one to continue.";
    this.find("trial", ".hint").textContent = done ? "" : words;
  }

  next() {
    if (this.current + 1 < this.trials.length) this.show(this.current + 1);
    else this.end();
  }

  end() {
    this.player.pause();
    const count = this.finished().length;
    const what = this.kind === "mushra" ? "recording" : "pair";
    this.find("end", ".done").textContent = `${count} ${what}${count === 1 ? "" : "s"} rated.`;
    this.find("end", ".save").disabled = this.find("end", ".reveal").disabled = count === 0;
    this.find("end", ".revealed").replaceChildren();
    this.turnTo("end");
  }

  /* What `rosecd report --ratings` reads. */
  ratings() {
    const trials = this.finished().map((trial) => {
      const { file } = this.data.cards[trial.card];
      const { sounds } = trial;
      if (this.kind === "mushra") {
        const score = (sound, i) => ({ system: sound.system, score: trial.scores[i], sound: sound.fingerprint });
        return { file, scores: sounds.map(score) };
      }
      const preferred = trial.choice < 0 ? null : sounds[trial.choice].system;
      const names = sounds.map((sound) => sound.system);
      return { file, systems: names, sounds: sounds.map((sound) => sound.fingerprint), preferred };
    });
    const { kind, listener, name } = this;
    const level_matched = this.player.matched;
    return { format: 1, kind, session: name, listener, time: new Date().toISOString(), level_matched, trials };
  }

  save() {
    const text = JSON.stringify(this.ratings(), null, 1);
    const link = make("a");
    const who = this.listener.replace(/[^\p{L}\p{N}_-]+/gu, "-") || "listener";
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `ratings-${who}-${this.name.slice(0, 6)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.saved = true;
  }

  reveal() {
    const values = new Map();
    const add = (system, value) => values.set(system, [...(values.get(system) ?? []), value]);
    for (const trial of this.finished()) {
      trial.sounds.forEach((sound, i) => {
        const won = trial.choice < 0 ? 50 : trial.choice === i ? 100 : 0;
        add(sound.system, this.kind === "mushra" ? trial.scores[i] : won);
      });
    }
    const list = make("dl");
    for (const [system, all] of values) {
      const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
      const words = this.kind === "mushra" ? mean.toFixed(0) : `preferred in ${mean.toFixed(0)} %`;
      list.append(make("dt", "", system ?? "clean, the hidden reference"), make("dd", "", words));
    }
    this.find("end", ".revealed").replaceChildren(list);
  }

  /* Handles keys of a session; returns whether the key was used. */
  key(event) {
    if (this.parts.trial.hidden || !this.trial) return false;
    if (event.key === " ") {
      if (event.target.closest(".buttons")) return false;
      this.player.toggle(this.trial.card);
      return true;
    }
    const button = /^\d$/.test(event.key) && this.find("trial", `.sound[data-key="${event.key}"]`);
    if (button) button.click();
    return Boolean(button);
  }
}

function make(tag, kind = "", words = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (words) element.textContent = words;
  return element;
}

const letter = (i) => String.fromCharCode(65 + i);

function shuffled(items) {
  const all = [...items];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  return all;
}
