"""Folders whose outputs have other encodings: which are kept by `resume`, and the resulting encodings."""

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.inference.plan import Job, plan_folder
from tests.inference.small import outcomes, write

PADDED = [("wav", "IMA_ADPCM"), ("wav", "MS_ADPCM"), ("wav", "GSM610"), ("wav", "NMS_ADPCM_32")]
PADDED += [("wav", "G721_32"), ("w64", "IMA_ADPCM"), ("w64", "GSM610"), ("au", "G723_40"), ("aiff", "PCM_U8")]
PADDED += [("aiff", "PCM_S8"), ("aiff", "ULAW"), ("aiff", "IMA_ADPCM"), ("voc", "ALAW"), ("voc", "ULAW")]


@pytest.mark.parametrize(("format", "subtype"), PADDED)
def test_encodings_that_fill_up_their_last_block_are_kept_when_they_are_done(
    student, tmp_path, format, subtype
):
    for samples in (1, 5001):
        write(tmp_path / "in" / f"{samples}.wav", samples)
    how = {"format": format, "subtype": subtype}
    reports = list(student.enhance_folder(tmp_path / "in", tmp_path / "out", **how))
    assert {report.status for report in reports} == {"enhanced"}
    assert any(io.info(report.target).samples > io.info(report.source).samples for report in reports)
    again = plan_folder(tmp_path / "in", tmp_path / "out", "resume", format, subtype, (0, 1))
    assert not again.jobs
    assert set(outcomes(again.settled).values()) == {"kept"}


@pytest.mark.parametrize(("format", "subtype"), [*PADDED, ("wav", "PCM_16"), ("flac", "PCM_24")])
def test_what_is_shorter_or_longer_by_more_than_a_block_is_not_done(tmp_path, format, subtype):
    source = write(tmp_path / "in.wav", 8003)
    target = tmp_path / f"out.{format}"
    block = 1 + io.most_padding(io.AudioInfo(16_000, 1, 1, subtype, io.FORMATS[f".{format}"]))
    for samples in (8003 - block, 8003 - 2 * block, 8003 + block, 8003 + 2 * block):
        write(target, samples, subtype=subtype)
        assert not Job(source, target, io.info(source)).is_done(None), samples
    write(target, 8003, subtype=subtype)
    assert Job(source, target, io.info(source)).is_done(None)
    if format != "flac":  # whose header has the length, whatever is behind it
        target.write_bytes(target.read_bytes()[:-2000])
        assert not Job(source, target, io.info(source)).is_done(None)


def test_a_source_that_cannot_be_read_has_no_output_that_is_done(tmp_path):
    source = write(tmp_path / "in.wav", 8000, subtype="FLOAT")
    header = io.info(source)
    source.write_bytes(source.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    write(tmp_path / "out.wav", 5, subtype="IMA_ADPCM")
    assert not Job(source, tmp_path / "out.wav", header).is_done(None)


def test_two_inputs_that_a_link_among_the_outputs_brings_together_are_reported(tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / "in" / folder / "x.wav", 100)
    write(tmp_path / "in" / "a" / "y.wav", 100)
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "a").symlink_to("b")
    plan = plan_folder(tmp_path / "in", tmp_path / "out", "refuse", None, None, (0, 1))
    assert [job.source.name for job in plan.jobs] == ["x.wav", "y.wav"]
    assert [report.status for report in plan.settled] == ["failed"]
    other = f"like {tmp_path / 'in' / 'a' / 'x.wav'};"
    assert plan.settled[0].error.startswith(f"{tmp_path / 'in' / 'b' / 'x.wav'}: would be written to ")
    assert other in plan.settled[0].error
