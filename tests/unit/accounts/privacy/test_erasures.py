"""Erasures: asked for, cooled down, carried out to the last byte, whoever is killed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heliograph.accounts.privacy.values import Erasure, ErasureState, ExportState, subject_of
from heliograph.audit.values import Filter
from heliograph.audit.verifier import verify_rows if False else *
