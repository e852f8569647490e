"""How many threads, and which instructions: asked for, checked, and the same results."""

import os
import subprocess
import sys

import pytest

import ferrocnn
from ferrocnn import _kernels


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("FERROCNN_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
    )


SHOW = "import ferrocnn; print(ferrocnn.get_num_threads())"


def test_the_number_asked_for_is_the_number_used() -> None:
    assert run(SHOW, FERROCNN_NUM_THREADS="3").stdout.strip() == "3"
    before = ferrocnn.get_num_threads()
    try:
        ferrocnn.set_num_threads(5)
        assert ferrocnn.get_num_threads() == 5
    finally:
        ferrocnn.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
def test_the_default_honours_the_affinity_of_the_process() -> None:
    one = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {SHOW}"
    assert run(one).stdout.strip() == "1"


@pytest.mark.parametrize("value", ["none", "0", "-2", "1.5", "1025"])
def test_a_wrong_variable_is_named(value: str) -> None:
    result = run(SHOW, FERROCNN_NUM_THREADS=value)
    assert result.returncode == 1
    expected = f"ValueError: FERROCNN_NUM_THREADS: expected a number from 1 to 1024, got {value!r}"
    assert expected.replace("'", '"') in result.stderr.replace("'", '"')


@pytest.mark.parametrize(
    ("count", "error"), [(0, ValueError), (5000, ValueError), ("2", TypeError)]
)
def test_a_wrong_count_is_named(count: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^count: expected"):
        ferrocnn.set_num_threads(count)


STEP = """
import numpy as np, hashlib, ferrocnn
Conv = ferrocnn.Conv
model = ferrocnn.CNN((40, 36, 3), {blocks}, [33, 1], seed=0, {arguments})
X = np.random.default_rng(0).integers(0, 256, (37, 40, 36, 3), np.uint8)
ferrocnn.train(model, X, np.arange(37) % 2, epochs=2, optimizer="adam", seed=0, progress=False)
digest = hashlib.sha256()
for value in (*model.state().values(), model.logits(X)):
    digest.update(value.tobytes())
print(ferrocnn._kernels.instruction_set(), digest.hexdigest())
"""


NETWORKS = {
    "plain": ("[(8, 3), (16, 3), (24, 3), (9, 3)]", ""),
    "valid": ("[(10, 3), (40, 3), (24, 3)]", "padding='valid'"),
    "wide": ("[(32, 3), (33, 3), Conv(40, 3, None)]", "batch_norm=True"),
    **{
        activation: (
            "[(8, 3), (19, 3), Conv(24, 3, 'avg'), Conv(9, 2, None, 2, batch_norm=False)]",
            f"activation={activation!r}, batch_norm=True, dropout=0.2, spatial_dropout=0.1",
        )
        for activation in _kernels.ACTIVATIONS
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_avx2_and_avx512_train_the_same_bits(name: str) -> None:
    if not {"avx2", "avx512"} <= set(_kernels.instruction_sets()):
        pytest.skip("this machine lacks avx512 or avx2")
    step = STEP.format(blocks=NETWORKS[name][0], arguments=NETWORKS[name][1])
    results = [run(step, FERROCNN_ISA=isa).stdout.split() for isa in ("avx2", "avx512")]
    assert [result[0] for result in results] == ["avx2", "avx512"]
    assert results[0][1] == results[1][1]


def test_an_unknown_instruction_set_is_named() -> None:
    result = run("import ferrocnn", FERROCNN_ISA="mmx")
    assert result.returncode == 1
    assert "ValueError: FERROCNN_ISA: expected one of" in result.stderr
