"""The paper's tables for one pair of models: teacher at 1 to 30 steps, student at 1, 2 and 4.

    python evaluate.py --config=configs/eval_paper.py:runs/teacher,runs/student --data=DATA --report=OUT

DATA holds clean/ and noisy/; OUT/report.html shows quality against network calls and time. The models are
runs or checkpoints of a teacher and of the student that was distilled from it (rosecd_voicebank_teacher,
rosecd_voicebank_student, or checkpoints of the authors); without the argument, runs/teacher, runs/student.

The figures of arXiv 2507.05688, Tables 1 and 2, are printed with the results, and drawn in the charts if the
files have the names of VoiceBank-DEMAND's test set. They are of full-size models; on the DNS challenge's
recordings, the paper's student has an OVRL of 3.42, below its teacher's 3.57.
"""

from typing import Any

TEACHER_STEPS = (1, 3, 5, 10, 20, 30)
STUDENT_STEPS = (1, 2, 4)
VOICEBANK = {"source": "paper, VoiceBank-DEMAND", "test_set": "VoiceBank-DEMAND"}
PUBLISHED = [
    VOICEBANK | {"name": "teacher", "network_calls": 60, "pesq": 2.90, "estoi": 0.85, "si_sdr": 16.9},
    VOICEBANK | {"name": "ROSE-CD", "network_calls": 1, "pesq": 3.49, "estoi": 0.87, "si_sdr": 17.8},
    {"name": "teacher", "source": "paper, TIMIT+NOISEX-92", "pesq": 2.16, "estoi": 0.81, "si_sdr": 13.9},
    {"name": "ROSE-CD", "source": "paper, TIMIT+NOISEX-92", "pesq": 2.62, "estoi": 0.81, "si_sdr": 14.7},
]


def get_config(models: str = "runs/teacher,runs/student") -> dict[str, Any]:
    """Return systems, measures and published figures; `models` is TEACHER,STUDENT."""
    teacher, comma, student = models.partition(",")
    if not (teacher and comma and student):
        raise ValueError(f"{models!r}: expected TEACHER,STUDENT, two checkpoints or runs")
    teachers = [f"{teacher},steps={steps},name=teacher-{steps}" for steps in TEACHER_STEPS]
    students = [f"{student},steps={steps},name=student-{steps}" for steps in STUDENT_STEPS]
    return {
        "checkpoints": [*teachers, *students],
        "metrics": "pesq,estoi,si_sdr",
        "baseline": "teacher-30",
        "published": PUBLISHED,
    }
