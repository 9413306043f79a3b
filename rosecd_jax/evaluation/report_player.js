"use strict";

/* Plays all sounds of a recording at the same time, one of them audible, so that a switch keeps the position. */
class Player {
  constructor(cards) {
    this.cards = cards;
    this.card = -1; // number of the recording that is loaded
    this.sound = 0; // number of the sound that is audible
    this.playing = false;
    this.loop = false;
    this.matched = false; // all sounds at the level of the last one, the clean recording
    this.offset = 0; // seconds at which to start
    this.origin = 0; // the context's time of position 0
    this.buffers = [];
    this.factors = [];
    this.voices = [];
    this.context = null;
    this.output = null;
    this.watchers = [];
    this.loading = null;
  }

  /* Calls a function after every change, and at every frame while something plays. */
  watch(watcher) {
    this.watchers.push(watcher);
  }

  changed() {
    for (const watcher of this.watchers) watcher(this);
  }

  get duration() {
    return this.card < 0 ? 0 : this.cards[this.card].seconds;
  }

  get position() {
    if (!this.playing) return this.offset;
    const passed = Math.max(this.offset, this.context.currentTime - this.origin);
    return this.loop ? passed % this.duration : Math.min(passed, this.duration);
  }

  /* Decodes a recording's sounds, unless loaded; missing ones stay null. */
  load(card) {
    if (card === this.card && this.loading) return this.loading;
    this.pause();
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      this.output = this.context.createGain();
      this.output.connect(this.context.destination);
    }
    this.card = card;
    this.offset = 0;
    this.buffers = [];
    if (!this.has(this.sound)) this.sound = this.cards[card].sounds.findIndex((_, place) => this.has(place));
    const places = this.cards[card].sounds.map((_, place) => this.decode(card, place));
    this.loading = Promise.all(places).then((buffers) => {
      if (this.card !== card) return;
      this.buffers = buffers;
      this.factors = this.levels();
    });
    this.changed();
    return this.loading;
  }

  has(place) {
    return Boolean(document.getElementById(`sound-${this.card}-${place}`));
  }

  async decode(card, place) {
    const element = document.getElementById(`sound-${card}-${place}`);
    if (!element) return null;
    const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
    return this.context.decodeAudioData(bytes.buffer);
  }

  /* Gains that match every sound's power to the clean recording, without peaks above full scale. */
  levels() {
    if (!this.matched) return this.buffers.map(() => 1);
    const found = this.buffers.map((buffer) => {
      if (!buffer) return { power: 0, peak: 0 };
      const samples = buffer.getChannelData(0);
      let power = 0, peak = 0;
      for (const sample of samples) {
        power += sample * sample;
        peak = Math.max(peak, Math.abs(sample));
      }
      return { power: power / samples.length, peak };
    });
    const wanted = found[found.length - 1].power;
    const factors = found.map(({ power }) => (power > 0 && wanted > 0 ? Math.sqrt(wanted / power) : 1));
    const highest = Math.max(1, ...factors.map((factor, place) => factor * found[place].peak));
    return factors.map((factor) => factor / highest);
  }

  async play(card) {
    const loaded = this.load(card);
    const resumed = this.context.resume(); // at once: browsers allow it during a click or key only
    await loaded;
    await resumed;
    if (this.card === card && !this.playing) this.start(this.offset < this.duration - 0.02 ? this.offset : 0);
  }

  start(offset) {
    this.silence();
    const when = this.context.currentTime + 0.02;
    this.voices = this.buffers.map((buffer, place) => {
      if (!buffer) return null;
      const source = this.context.createBufferSource();
      const gain = this.context.createGain();
      source.buffer = buffer;
      source.loop = this.loop;
      source.loopEnd = this.duration;
      gain.gain.value = place === this.sound ? this.factors[place] : 0;
      source.connect(gain).connect(this.output);
      source.start(when, offset);
      return { source, gain };
    });
    const first = this.voices.find(Boolean);
    if (first) first.source.onended = () => this.ended(first);
    this.offset = offset;
    this.origin = when - offset;
    this.playing = true;
    this.changed();
    requestAnimationFrame(() => this.frame());
  }

  frame() {
    if (!this.playing) return;
    this.changed();
    requestAnimationFrame(() => this.frame());
  }

  ended(voice) {
    if (!this.playing || !this.voices.includes(voice)) return;
    this.pause();
    this.offset = 0;
    this.changed();
  }

  silence() {
    for (const voice of this.voices) {
      if (!voice) continue;
      voice.source.onended = null;
      voice.source.stop();
      voice.gain.disconnect();
    }
    this.voices = [];
  }

  pause() {
    if (!this.playing) return;
    this.offset = this.position;
    this.playing = false;
    this.silence();
    this.changed();
  }

  toggle(card) {
    if (this.playing && this.card === card) {
      this.pause();
      return Promise.resolve();
    }
    return this.play(card);
  }

  seek(seconds) {
    const offset = Math.min(Math.max(seconds, 0), Math.max(0, this.duration - 0.01));
    if (this.playing) this.start(offset);
    else this.offset = offset;
    this.changed();
  }

  repeat(loop) {
    this.loop = loop;
    if (this.playing) this.start(this.position);
  }

  /* Switches to another sound of the recording by a crossfade of 10 ms. */
  select(place) {
    if (!this.has(place)) return;
    this.sound = place;
    if (this.playing) {
      const now = this.context.currentTime;
      this.voices.forEach((voice, other) => {
        if (!voice) return;
        const gain = voice.gain.gain;
        gain.cancelScheduledValues(now);
        gain.setValueAtTime(gain.value, now);
        gain.linearRampToValueAtTime(other === place ? this.factors[other] : 0, now + 0.01);
      });
    }
    this.changed();
  }
}

/* Connects play button, position and time of an element with a player, for the recording `card()`. */
function connectControls(player, element, card) {
  const button = element.querySelector(".play");
  const seek = element.querySelector(".seek");
  const time = element.querySelector(".time");
  button.addEventListener("click", () => player.toggle(card()));
  seek.addEventListener("input", async () => {
    const wanted = Number(seek.value);
    await player.load(card());
    player.seek(wanted);
  });
  player.watch(() => {
    const mine = player.card === card();
    const playing = mine && player.playing;
    button.textContent = playing ? "❚❚" : "▶";
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (!mine) return;
    seek.value = player.position;
    time.textContent = `${player.position.toFixed(1)} s`;
  });
}

/* Whether the focused element handles a key. */
function isTyping(event) {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return true;
  if (target.matches("select, textarea")) return true;
  return target.matches("input") && !target.matches("[type=range], [type=checkbox], [type=radio]");
}
