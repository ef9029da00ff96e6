from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tensorvcs.errors import UnreadableFileError
from tensorvcs.formats.decoder_pool import DecoderPool, DecoderProcess
from tensorvcs.formats.image_decoding import ANSWER_NBYTES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = []
    for number in range(100):
        found.append(str(tmp_path / f"{number}.png"))
        Image.new("L", (4, 3), number).save(found[-1])
    return found


def test_answers_come_in_the_order_of_the_files(paths: list[str]) -> None:
    pool = DecoderPool(3, {})
    seen: list[int] = []
    for answer in pool.answers(paths, headers_only=False):
        for block in answer.blocks:
            assert block.pixels is not None
            assert block.pixels.shape == (len(block.places), 3, 4)
            assert (block.pixels[:, 0, 0] == block.places).all()
            seen += block.places
    pool.close()
    assert seen == list(range(100))


def test_headers_have_no_pixels(paths: list[str]) -> None:
    pool = DecoderPool(1, {})
    answers = list(pool.answers(paths, 90, headers_only=True))
    pool.close()
    assert [answer.start for answer in answers] == [90]
    (block,) = answers[0].blocks
    assert (block.mode, block.height, block.width, block.pixels) == ("L", 3, 4, None)


def test_stopping_early_leaves_the_pool_ready(paths: list[str]) -> None:
    pool = DecoderPool(2, {})
    answers = pool.answers(paths, headers_only=False)
    next(answers)
    answers.close()
    assert sum(answer.done for answer in pool.answers(paths, headers_only=True)) == 100
    pool.close()
    pool.close()


def test_large_images_are_answered_a_few_at_a_time(tmp_path: Path) -> None:
    found = []
    for number in range(12):
        found.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (1024, 700), (number, 0, 0)).save(found[-1], compress_level=0)
    pool = DecoderPool(1, {})
    answers = list(pool.answers(found, headers_only=False))
    pool.close()
    assert sum(answer.done for answer in answers) == 12
    assert max(answer.pixels_nbytes for answer in answers) <= ANSWER_NBYTES + 1024 * 700 * 3
    places = [place for answer in answers for block in answer.blocks for place in block.places]
    assert places == list(range(12))


@pytest.mark.parametrize("process_count", [1, 2])
def test_process_that_dies_is_an_error_and_not_a_hang(paths: list[str], process_count: int) -> None:
    pool = DecoderPool(process_count, {})
    answers = pool.answers(paths, headers_only=False)
    next(answers)
    for process in pool._processes:
        os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(UnreadableFileError, match="killed by signal 9"):
        list(answers)
    pool.close()


def test_process_that_cannot_start_is_an_error(paths: list[str]) -> None:
    process = DecoderProcess({"no_such_setting": 1})
    with pytest.raises(UnreadableFileError, match="exit code 1"):
        process.ask(paths, 0, headers_only=True)
    process.close()


def test_no_process_is_left_behind(paths: list[str]) -> None:
    pool = DecoderPool(2, {})
    processes = [process._process for process in pool._processes]
    next(pool.answers(paths, headers_only=True))
    pool.close()
    assert [process.returncode for process in processes] == [0, 0]


def test_pixels_may_be_written(paths: list[str]) -> None:
    pool = DecoderPool(1, {})
    (block,) = next(pool.answers(paths[:1], headers_only=False)).blocks
    pool.close()
    assert block.pixels is not None
    block.pixels[:] = 1
    assert block.pixels.dtype == np.uint8
