"""Which chain of passes suits a model: candidates, successive halving, the accuracy gate, what is measured, the journal."""
