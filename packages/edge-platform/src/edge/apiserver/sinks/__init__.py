"""Records of changes on volumes of their own: the processes of StatefulSet `edge-audit`, their clients."""
