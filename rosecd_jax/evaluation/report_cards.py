"""HTML of a report's recordings with players."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rosecd_jax.evaluation.report_charts import Axis
from rosecd_jax.evaluation.report_sounds import Recording, Sound
from rosecd_jax.evaluation.spectrogram import COLORS, RANGE_DB

__all__ = ["card", "color_scale", "sounds"]

Json = Mapping[str, Any]


def card(number: int, recording: Recording, results: Json, measures: Sequence[Json]) -> str:
    """Render a recording: reasons for its choice, the player's controls, and a panel per sound."""
    entry = results["files"][recording.pick.index]
    facts = [f"{recording.whole_seconds:.1f} s", f"{recording.sample_rate / 1000:g} kHz"]
    if entry.get("snr") is not None:
        facts.append(f"input SNR {entry['snr']:.1f} dB")
    facts += [f"{name} {value}" for name, value in (entry.get("columns") or {}).items()]
    if recording.seconds < recording.whole_seconds:
        facts.append(f"first {recording.seconds:g} s shown")
    if recording.turned_down_db > 0.01:
        facts.append(f"all sounds attenuated by {recording.turned_down_db:.1f} dB to avoid clipping")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in recording.pick.reasons)
    panels = "".join(
        _panel(number, place, sound, recording, entry, measures)
        for place, sound in enumerate(recording.sounds)
    )
    columns = 4 if len(recording.sounds) in (4, 7, 8) else 3
    return f"""
<article class="card" id="recording-{number}" data-card="{number}" aria-labelledby="recording-{number}-name">
<h3 id="recording-{number}-name">{escape(entry["file"])}</h3>
<ul class="reasons">{reasons}</ul>
<p class="facts">{escape(" · ".join(facts))}</p>
<div class="controls">
<button type="button" class="play" aria-label="Play">▶</button>
<input type="range" class="seek" min="0" max="{recording.seconds:.3f}" step="0.01" value="0"
aria-label="Position in seconds">
<output class="time">0.0 s</output>
</div>
<div class="panels" style="--columns:{columns}" role="group" aria-label="Sounds of this recording">
{panels}</div>
</article>"""


def _panel(
    card: int, place: int, sound: Sound, recording: Recording, entry: Json, measures: Sequence[Json]
) -> str:
    name = "clean" if sound.system is None else sound.system
    if sound.error:
        return f'<div class="panel missing"><b>{escape(name)}</b><span>{escape(sound.error)}</span></div>'
    scores = entry["systems"].get(sound.system, {}).get("scores", {}) if sound.system is not None else {}
    words = [
        f"{measure['title']}\u00a0{scores[measure['name']]:.{measure['digits']}f}"
        for measure in measures
        if scores.get(measure["name"]) is not None
    ]
    key = f"<kbd>{place + 1}</kbd>" if place < 9 else ""
    lines = f"<small>{escape(' · '.join(words) or 'reference')}</small>"
    if sound.changed:
        lines += '<small class="warning">changed since it was scored: evaluate again</small>'
    return (
        f'<button type="button" class="panel" data-sound="{place}" aria-pressed="false">'
        f'<span class="caption">{key}<b>{escape(name)}</b>{lines}</span>'
        f"{_spectrogram(sound, name, recording)}</button>"
    )


def _spectrogram(sound: Sound, name: str, recording: Recording) -> str:
    """Render the image with its axes, as text, so that they are sharp at any size."""
    top = recording.sample_rate / 2000
    across = _ticks(Axis(0, recording.seconds, 0, 100), 4, "left", "s")
    up = _ticks(Axis(0, top, 0, 100), 4, "bottom", "kHz")
    return (
        f'<span class="spectrogram"><span class="up" aria-hidden="true">{up}</span>'
        f'<span class="image"><img alt="Spectrogram of {escape(name)}" '
        f'src="data:image/png;base64,{sound.png}"><span class="head"></span></span>'
        f'<span class="across" aria-hidden="true">{across}</span></span>'
    )


def _ticks(axis: Axis, about: int, side: str, unit: str) -> str:
    """Place labels at round numbers, in percent; the last one has the unit."""
    ticks = axis.ticks(about)
    return "".join(
        f'<i style="{side}:{axis.place(tick):.2f}%">{tick:g}{f" {unit}" if tick == ticks[-1] else ""}</i>'
        for tick in ticks
    )


def color_scale() -> str:
    """Render the color scale of the spectrograms."""
    stops = ", ".join(f"rgb{color}" for color in COLORS)
    return (
        f'<p class="scale"><span>−{RANGE_DB:g} dB</span>'
        f'<span class="bar" style="background:linear-gradient(to right, {stops})"></span>'
        "<span>0 dB: maximum over the recording's sounds</span></p>"
    )


def sounds(number: int, recording: Recording) -> str:
    """Render a recording's sounds as base64 in invisible elements."""
    return "".join(
        f'<script type="text/plain" id="sound-{number}-{place}">{sound.flac}</script>'
        for place, sound in enumerate(recording.sounds)
        if sound.flac
    )
