"""Who can be asked: whatever speaks a protocol that is known here, behind one seam."""
