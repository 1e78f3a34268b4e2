"""The memory of converted matrices."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core.backends.matrix_cache import MatrixCache, fingerprint

FORMATS = ["csr", "csc", "bsr", "coo", "dia", "lil", "dok"]


def matrix(form: str = "csr"):
    return sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])).asformat(form)


def test_the_same_object_with_the_same_numbers_is_built_once():
    cache, subject, built = MatrixCache(), matrix(), []

    def build():
        built.append(1)
        return object()

    first = cache.get(subject, "float64", build)
    assert cache.get(subject, "float64", build) is first
    assert cache.get(subject, "float32", build) is not first
    assert cache.get(subject.copy(), "float64", build) is not first
    assert len(built) == 3


@pytest.mark.parametrize("form", [*FORMATS, "dense"])
def test_a_change_in_place_is_seen(form):
    subject = matrix().toarray() if form == "dense" else matrix(form)
    cache = MatrixCache()
    first = cache.get(subject, None, object)
    if form in ("coo", "dia", "bsr"):
        subject.data *= 10.0
    else:
        subject[1, 1] = 30.0
    assert cache.get(subject, None, object) is not first


def test_the_order_of_entries_shape_and_dtype_are_part_of_the_content():
    wide, tall = sp.csr_array((2, 6)), sp.csr_array((2, 5))
    assert fingerprint(wide) != fingerprint(tall)
    assert fingerprint(matrix()) != fingerprint(matrix().astype(np.float32))
    assert fingerprint(np.zeros((2, 3))) != fingerprint(np.zeros((3, 2)))
    moved = matrix()
    moved.indices[:2] = moved.indices[1::-1].copy()
    assert fingerprint(moved) != fingerprint(matrix())
    strided = np.arange(12.0).reshape(3, 4)[:, ::2]
    assert fingerprint(strided) == fingerprint(strided.copy())


def test_what_is_gone_is_forgotten():
    cache, subject = MatrixCache(), matrix()
    cache.get(subject, "a", object)
    cache.get(subject, "b", object)
    assert len(cache) == 2
    del subject
    gc.collect()
    assert len(cache) == 0


def test_a_new_matrix_at_an_old_address_is_new():
    cache = MatrixCache()
    for value in range(200):  # addresses are used again at once
        subject = matrix() * value
        assert cache.get(subject, None, lambda value=value: value) == value


def test_threads_agree():
    cache, subject = MatrixCache(), matrix()
    found, barrier = [], threading.Barrier(4)

    def ask():
        barrier.wait()
        found.extend(cache.get(subject, None, lambda: subject.sum()) for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6.0] * 200
