"""rosecd stream: standard input to standard output, as it comes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from rosecd_jax.cli.common import (
    AttenuationOption,
    CheckpointOption,
    CorrectorOption,
    DtypeOption,
    NetworkOption,
    SamplerOption,
    SeedOption,
    SnrOption,
    StepsOption,
    StrengthOption,
    WeightsOption,
    load_enhancer,
    plain_errors,
)
from rosecd_jax.cli.pipes import open_pipes, quiet_ends, signals_end_input, write_all
from rosecd_jax.pretrained import DEFAULT

if TYPE_CHECKING:
    import numpy as np

    from rosecd_jax.audio.pcm import Encoding
    from rosecd_jax.inference.streaming import StreamingEnhancer

NOTHING = (
    "no samples came on standard input; see whether the source is empty, or what should write it has failed"
)


class Format(NamedTuple):
    """What flows in, and out again: `header` comes before the output, `size` bytes at most are samples."""

    encoding: "Encoding"
    sample_rate: int
    channels: int
    header: bytes
    size: int | None

    @property
    def frame(self) -> int:
        """Bytes of a sample of all channels."""
        return self.channels * self.encoding.size


RateOption = Annotated[int | None, typer.Option(help="Of raw input, in Hz; the model's unless given.")]
ChannelsOption = Annotated[int | None, typer.Option(help="Of raw input; 1 unless given.")]
EncodingOption = Annotated[
    str | None,
    typer.Option(help="Of raw input: u8, s16le, s24le, s32le, f32le, f64le; s16le unless given."),
]
WindowOption = Annotated[
    float | None,
    typer.Option(help="What the network sees at a step, in ms; 512 or, for `small`, 1024."),
]
HopOption = Annotated[float | None, typer.Option(help="From one step to the next; 64 ms unless given.")]
LookAheadOption = Annotated[
    float | None, typer.Option(help="What it sees after its output; 64 ms unless given.")
]


def stream(
    checkpoint: CheckpointOption = Path(DEFAULT),
    rate: RateOption = None,
    channels: ChannelsOption = None,
    encoding: EncodingOption = None,
    window_ms: WindowOption = None,
    hop_ms: HopOption = None,
    look_ahead_ms: LookAheadOption = None,
    strength: StrengthOption = 1.0,
    attenuation_limit: AttenuationOption = None,
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
    dtype: DtypeOption = "",
    network: NetworkOption = "",
) -> None:
    """Remove noise from what comes on standard input, and write it to standard output as it is ready.

    ffmpeg -i noisy.mp4 -f wav - | rosecd stream | ffmpeg -i - clean.flac

    The input is WAV, known by its header, or raw PCM if --rate, --channels or --encoding is given. The output
    is of the same kind, with as many samples, each in its old place: it comes late, but nothing is put before
    it, so that it stays in step with a picture. Latency and computing times are printed on standard error.
    Ctrl-C or SIGTERM ends the input: what was read is still written. A second one ends all at once.
    """
    from rosecd_jax.inference.stream_step import StreamConfig

    with plain_errors(), quiet_ends():
        source, sink = open_pipes()
        sampling = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        sampling |= {"strength": strength, "attenuation_limit": attenuation_limit, "network": network}
        loaded = load_enhancer(checkpoint, weights=weights, dtype=dtype or None, **sampling)
        lengths = {"window": window_ms, "hop": hop_ms, "look_ahead": look_ahead_ms}
        config = StreamConfig.from_milliseconds(loaded.model, **lengths)

        start = source.read(4)
        if not start:
            raise ValueError(NOTHING)
        form = wav_format(source, start, rate, channels, encoding)
        if form is None:
            start += source.read(4)
            form = raw_format(start, rate, channels, encoding, loaded.model.front_end.sample_rate)
        else:
            start = b""
        enhancer = loaded.stream(config, channels=form.channels, sample_rate=form.sample_rate, seed=seed)
        tell_start(enhancer, form)
        with signals_end_input() as received:
            try:
                samples = pump(enhancer, form, start, source, sink)
            finally:
                tell_end(enhancer)
        if received:
            raise typer.Exit(128 + received[0])
        if not samples:
            raise ValueError(NOTHING)


def wav_format(
    source: BinaryIO, start: bytes, rate: int | None, channels: int | None, encoding: str | None
) -> Format | None:
    """Read the header of a WAV input, or None if its first four bytes are not a WAV's.

    Raises:
      ValueError: if the header is unfit, or an option says something else.
    """
    from rosecd_jax.audio.wav_stream import is_wav, read_header

    if not is_wav(start):
        return None
    header = read_header(start, source.read)
    said = {"--rate": rate, "--channels": channels, "--encoding": encoding}
    true = header.sample_rate, header.channels, header.encoding.name
    for (option, value), actual in zip(said.items(), true, strict=True):
        if value is not None and value != actual:
            raise ValueError(
                f"{option} {value}: the input is WAV, and its header says {actual}; leave it out"
            )
    return Format(header.encoding, header.sample_rate, header.channels, header.to_bytes(), header.size)


def raw_format(
    start: bytes, rate: int | None, channels: int | None, encoding: str | None, model_rate: int
) -> Format:
    """Raw PCM that begins with these eight bytes.

    Raises:
      ValueError: if they are another kind of file's, nobody said that it is raw, or an option makes no sense.
    """
    from rosecd_jax.audio.pcm import ENCODINGS
    from rosecd_jax.audio.wav_stream import refuse_others

    refuse_others(start)
    if rate is channels is encoding is None:
        raise ValueError(
            "the input is no WAV; make it one, as by ffmpeg -i INPUT -f wav -, "
            "or say what raw samples it is, such as --encoding s16le"
        )
    rate = model_rate if rate is None else rate
    channels = 1 if channels is None else channels
    encoding = "s16le" if encoding is None else encoding
    if encoding not in ENCODINGS:
        raise ValueError(f"--encoding {encoding}: expected one of {', '.join(ENCODINGS)}")
    if channels < 1:
        raise ValueError(f"--channels {channels}: expected one or more")
    return Format(ENCODINGS[encoding], rate, channels, b"", None)


def pump(enhancer: "StreamingEnhancer", form: Format, start: bytes, source: BinaryIO, sink: BinaryIO) -> int:
    """Enhance until the input ends; everything is written as soon as it is ready. Returns its bytes."""
    # A hop at a time: whoever sends faster than that should not have to wait for the first output.
    most = form.frame * max(1, round(enhancer.times.hop * form.sample_rate))
    header, size = form.header, 0
    early = enhancer.latency  # of what the enhancer gives, so much belongs to before the first sample
    for wave in enhanced(enhancer, form, whole_frames(source, start, form, most)):
        kept = wave.reshape(form.channels, -1)[:, early:]
        early = max(0, early - wave.shape[-1])
        if kept.size:
            write_all(sink, header + form.encoding.encode(kept))
            header, size = b"", size + kept.shape[-1] * form.frame
    if size and size == form.size and size % 2:
        write_all(sink, b"\0")  # the header counts it: chunks of a WAV are even
    while source.read(1 << 16):  # chunks after a WAV's samples: their writer should not meet a closed pipe
        pass
    return size


def enhanced(enhancer: "StreamingEnhancer", form: Format, blocks: Iterator[bytes]) -> Iterator["np.ndarray"]:
    """What the enhancer gives for these blocks, to the end; an error takes nothing from what came before it.

    Raises:
      ValueError: after all that comes before a sample that is NaN, infinite or absurdly large.
      OSError: likewise, where the input can't be read.
    """
    from rosecd_jax.inference.streaming import LOUDEST, fit_samples

    count, failure = 0, None
    try:
        for data in blocks:
            wave = form.encoding.decode(data, form.channels)
            fit = fit_samples(wave)
            yield enhancer.push(wave[:, :fit])
            count += fit
            if fit < wave.shape[-1]:
                raise ValueError(
                    f"the input's sample at {count / form.sample_rate:.3f} s is NaN, infinite, or beyond "
                    f"{LOUDEST:g} (full scale is 1), and ends the output; correct what made it"
                )
    except (ValueError, OSError) as error:
        failure = error
    yield enhancer.flush()
    if failure:
        raise failure


def whole_frames(source: BinaryIO, start: bytes, form: Format, most: int) -> Iterator[bytes]:
    """`start`, then what comes, as it comes: whole frames, about `most` bytes at a time."""
    left = sys.maxsize if form.size is None else form.size
    data, rest = start, b""
    while True:
        rest += data
        whole = len(rest) - len(rest) % form.frame
        if whole:
            yield rest[:whole]
        rest = rest[whole:]
        data = source.read1(min(most, left)) if left else b""  # type: ignore[attr-defined]
        left -= len(data)
        if not data:
            break
    if form.size is not None and left:
        tell(f"the input ends {left} bytes before the length that its header says")
    if rest:
        tell(f"the input ends in the middle of a sample; its last {len(rest)} bytes are left out")


def tell_start(enhancer: "StreamingEnhancer", form: Format) -> None:
    """What goes through, and how late."""
    front, config = enhancer.model.front_end, enhancer.config
    lengths = {"window": config.window, "hop": config.hop, "look-ahead": config.look_ahead}
    frame = 1000 * front.hop / front.sample_rate
    of_these = ", ".join(f"{name} {frames * frame:g} ms" for name, frames in lengths.items())
    kind = "WAV" if form.header else "raw"
    tell(
        f"{kind} {form.encoding.name}, {form.channels} channel(s) at {form.sample_rate} Hz; "
        f"latency {enhancer.latency_seconds * 1000:.1f} ms ({of_these})"
    )


def tell_end(enhancer: "StreamingEnhancer") -> None:
    """How long the steps took, and whether they would have been in time."""
    times = enhancer.times
    mean, late, longest = (1000 * s for s in (times.mean, times.percentile(99), times.longest))
    tell(
        f"{times.count} steps: mean {mean:.1f} ms, 99th percentile {late:.1f} ms, longest {longest:.1f} ms; "
        f"{times.real_time_factor:.3f} s per s of audio; under-runs (steps longer than the hop of "
        f"{1000 * times.hop:g} ms): {times.under_runs}"
    )


def tell(words: str) -> None:
    """A line on standard error: standard output is the audio's."""
    typer.echo(f"rosecd stream: {words}", err=True)
