"""Everything that needs data and gradients: scores, compensation, re-finetuning."""
