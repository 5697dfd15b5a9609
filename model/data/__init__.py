# SPDX-License-Identifier: Apache-2.0
"""What the model is trained on: phrases, the voices that say them, and the bank of clips."""
