"""What a bundle is: documents, layout, limits. Pure: bytes in, values out; whoever has a disk or a socket passes it in."""
