"""The command `rosecd stream`, which enhances standard input to standard output."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, NamedTuple

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

NO_SAMPLES = "no samples on standard input; the source may be empty, or the command that writes it has failed"

# The names of `audio.pcm.ENCODINGS`, repeated here because importing them would import NumPy.
RawEncoding = Literal["u8", "s16le", "s24le", "s32le", "f32le", "f64le"]


class Format(NamedTuple):
    """Format of input and output; `header` precedes the output, `size` is the samples' bytes, if known."""

    encoding: "Encoding"
    sample_rate: int
    channels: int
    header: bytes
    size: int | None

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.encoding.size


RateOption = Annotated[
    int | None,
    typer.Option(metavar="HZ", help="Sample rate of raw input.", show_default="the model's"),
]
ChannelsOption = Annotated[
    int | None, typer.Option(help="Number of channels of raw input.", show_default="1")
]
EncodingOption = Annotated[
    RawEncoding | None, typer.Option(help="Encoding of raw input.", show_default="s16le")
]
WindowOption = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        help="Length of signal that the network sees per step, rounded up to a multiple of its stride.",
        show_default="512",
    ),
]
HopOption = Annotated[
    float | None, typer.Option(metavar="MS", help="Time from one step to the next.", show_default="64")
]
LookAheadOption = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        help="How far beyond the end of its output the network sees the signal.",
        show_default="64",
    ),
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
    dtype: DtypeOption = None,
    network: NetworkOption = "",
) -> None:
    """Remove noise from standard input, and write the result to standard output as soon as it is ready.

    ffmpeg -i noisy.mp4 -f wav - | rosecd stream | ffmpeg -i - clean.flac

    The input is WAV, recognized by its header, or raw PCM if --rate, --channels or --encoding is given. The
    output has the same format and length and is aligned with the input: it is written late, but without
    leading silence, so that it stays in sync with video. Latency and computing times are printed on standard
    error. Ctrl-C or SIGTERM ends the input: what was read is still written. A second signal exits at once.
    """
    from rosecd_jax.inference.stream_step import StreamConfig

    with plain_errors(), quiet_ends():
        source, sink = open_pipes()
        sampling = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        sampling |= {"strength": strength, "attenuation_limit": attenuation_limit, "network": network}
        loaded = load_enhancer(checkpoint, weights=weights, dtype=dtype, **sampling)
        lengths = {"window": window_ms, "hop": hop_ms, "look_ahead": look_ahead_ms}
        config = StreamConfig.from_milliseconds(loaded.model, **lengths)

        start = source.read(4)
        if not start:
            raise ValueError(NO_SAMPLES)
        format = wav_format(source, start, rate, channels, encoding)
        if format is None:
            start += source.read(4)
            format = raw_format(start, rate, channels, encoding, loaded.model.front_end.sample_rate)
        else:
            start = b""
        enhancer = loaded.stream(config, channels=format.channels, sample_rate=format.sample_rate, seed=seed)
        print_start(enhancer, format)
        with signals_end_input() as received:
            try:
                size = enhance_all(enhancer, format, start, source, sink)
            finally:
                print_times(enhancer)
        if received:
            raise typer.Exit(128 + received[0])
        if not size:
            raise ValueError(NO_SAMPLES)


def wav_format(
    source: BinaryIO, start: bytes, rate: int | None, channels: int | None, encoding: str | None
) -> Format | None:
    """Read the header of a WAV input; None if its first four bytes are not a WAV's.

    Raises:
      ValueError: if the header is not usable, or contradicts an option.
    """
    from rosecd_jax.audio.wav_stream import is_wav, read_header

    if not is_wav(start):
        return None
    header = read_header(start, source.read)
    options = {"--rate": rate, "--channels": channels, "--encoding": encoding}
    found = header.sample_rate, header.channels, header.encoding.name
    for (option, value), actual in zip(options.items(), found, strict=True):
        if value is not None and value != actual:
            raise ValueError(
                f"{option} {value}: the input is WAV, and its header says {actual}; leave it out"
            )
    return Format(header.encoding, header.sample_rate, header.channels, header.to_bytes(), header.size)


def raw_format(
    start: bytes, rate: int | None, channels: int | None, encoding: str | None, model_rate: int
) -> Format:
    """Return the format of raw PCM that begins with these eight bytes.

    Raises:
      ValueError: if they begin another kind of file, no option declares raw input, or channels is below 1.
    """
    from rosecd_jax.audio.pcm import ENCODINGS
    from rosecd_jax.audio.wav_stream import refuse_others

    refuse_others(start)
    if rate is channels is encoding is None:
        raise ValueError(
            "the input is not WAV; convert it, as by ffmpeg -i INPUT -f wav -, "
            "or give the format of raw samples, such as --encoding s16le"
        )
    rate = model_rate if rate is None else rate
    channels = 1 if channels is None else channels
    if channels < 1:
        raise ValueError(f"--channels {channels}: expected one or more")
    return Format(ENCODINGS[encoding or "s16le"], rate, channels, b"", None)


def enhance_all(
    enhancer: "StreamingEnhancer", format: Format, start: bytes, source: BinaryIO, sink: BinaryIO
) -> int:
    """Enhance until the input ends, writing output as soon as it is ready; return the samples' bytes."""
    # One hop at a time, so that the first output does not wait for the rest of a fast input.
    most = format.frame * max(1, round(enhancer.times.hop * format.sample_rate))
    header, size, clipped = format.header, 0, 0
    early = enhancer.latency  # samples of the enhancer's output that precede the input's first sample
    for wave in enhanced(enhancer, format, whole_frames(source, start, format, most)):
        kept = wave.reshape(format.channels, -1)[:, early:]
        early = max(0, early - wave.shape[-1])
        if kept.size:
            write_all(sink, header + format.encoding.encode(kept))
            clipped += format.encoding.clipped(kept)
            header, size = b"", size + kept.shape[-1] * format.frame
    if clipped:
        print_line(f"{clipped} samples were clipped to full scale: lower the input's level, or use f32le")
    if size and size == format.size and size % 2:
        write_all(sink, b"\0")  # chunks of a WAV have even lengths, which its header counts
    while source.read(1 << 16):  # drain chunks after a WAV's samples, so that their writer gets no SIGPIPE
        pass
    return size


def enhanced(
    enhancer: "StreamingEnhancer", format: Format, blocks: Iterator[bytes]
) -> Iterator["np.ndarray"]:
    """Yield the enhancer's output for these blocks, all of it even if an error follows.

    Raises:
      ValueError: if a sample is NaN, infinite or beyond `LOUDEST`.
      OSError: if the input can't be read.
    """
    from rosecd_jax.inference.streaming import LOUDEST, fit_samples

    count, failure = 0, None
    try:
        for data in blocks:
            wave = format.encoding.decode(data, format.channels)
            fit = fit_samples(wave)
            yield enhancer.push(wave[:, :fit])
            count += fit
            if fit < wave.shape[-1]:
                raise ValueError(
                    f"the input's sample at {count / format.sample_rate:.3f} s is NaN, infinite, or beyond "
                    f"{LOUDEST:g} (full scale is 1); the output ends there; correct the source"
                )
    except (ValueError, OSError) as error:
        failure = error
    yield enhancer.flush()
    if failure:
        raise failure


def whole_frames(source: BinaryIO, start: bytes, format: Format, most: int) -> Iterator[bytes]:
    """Yield `start` and the input as it arrives, in whole frames of about `most` bytes together."""
    left = sys.maxsize if format.size is None else format.size
    data, rest = start, b""
    while True:
        rest += data
        whole = len(rest) - len(rest) % format.frame
        if whole:
            yield rest[:whole]
        rest = rest[whole:]
        data = source.read1(min(most, left)) if left else b""  # type: ignore[attr-defined]
        left -= len(data)
        if not data:
            break
    if format.size is not None and left:
        print_line(f"the input ends {left} bytes before the length in its header")
    if rest:
        print_line(f"the input ends in the middle of a sample; its last {len(rest)} bytes are left out")


def print_start(enhancer: "StreamingEnhancer", format: Format) -> None:
    """Print format and latency."""
    front, config = enhancer.model.front_end, enhancer.config
    lengths = {"window": config.window, "hop": config.hop, "look-ahead": config.look_ahead}
    frame = 1000 * front.hop / front.sample_rate
    of_these = ", ".join(f"{name} {frames * frame:g} ms" for name, frames in lengths.items())
    kind = "WAV" if format.header else "raw"
    print_line(
        f"{kind} {format.encoding.name}, {format.channels} channel(s) at {format.sample_rate} Hz; "
        f"latency {enhancer.latency_seconds * 1000:.1f} ms ({of_these})"
    )


def print_times(enhancer: "StreamingEnhancer") -> None:
    """Print the times of the steps, and how many were longer than a hop."""
    times = enhancer.times
    mean, late, longest = (1000 * s for s in (times.mean, times.percentile(99), times.longest))
    print_line(
        f"{times.count} steps: mean {mean:.1f} ms, 99th percentile {late:.1f} ms, longest {longest:.1f} ms; "
        f"{times.real_time_factor:.3f} s per s of audio; under-runs (steps longer than the hop of "
        f"{1000 * times.hop:g} ms): {times.under_runs}"
    )


def print_line(text: str) -> None:
    """Print a line on standard error; standard output carries the audio."""
    typer.echo(f"rosecd stream: {text}", err=True)
