# SPDX-License-Identifier: Apache-2.0
"""Stand-in test sets, lived through by the real session and scored by the published definitions."""
