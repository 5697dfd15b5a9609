# SPDX-License-Identifier: Apache-2.0
"""What the model is trained on: phrases with meaning, voices that say them, and the bank that keeps the clips."""
