"""The papers behind the parts that a run used."""

ALWAYS = (
    "E. L. Kaplan, P. Meier (1958). Nonparametric estimation from incomplete observations. JASA 53.",
    "C. J. Clopper, E. S. Pearson (1934). The use of confidence or fiducial limits. Biometrika 26.",
)
OF_KIND = {
    "BadNets": "T. Gu, B. Dolan-Gavitt, S. Garg (2017). BadNets. arXiv 1708.06733.",
    "Handcrafted": "S. Hong, N. Carlini, A. Kurakin (2022). Handcrafted Backdoors in Deep Networks. arXiv 2106.04690.",
    "Adam": "D. P. Kingma, J. Ba (2015). Adam. arXiv 1412.6980.",
    "Sign": "J. Bernstein et al. (2018). signSGD. arXiv 1802.04434.",
    "WeightDecay": "I. Loshchilov, F. Hutter (2019). Decoupled weight decay regularization. arXiv 1711.05101.",
    "Tickets": "J. Frankle, M. Carbin (2019). The Lottery Ticket Hypothesis. arXiv 1803.03635.",
    "SAM": "P. Foret et al. (2021). Sharpness-aware minimization. arXiv 2010.01412.",
    "Uchida": "Y. Uchida et al. (2017). Embedding watermarks into deep neural networks. arXiv 1701.04082.",
    "FashionMNIST": "H. Xiao, K. Rasul, R. Vollgraf (2017). Fashion-MNIST. arXiv 1708.07747.",
    "Digits": "E. Alpaydin, C. Kaynak (1998). Optical recognition of handwritten digits. UCI (scikit-learn's copy).",
}


def references(kinds: set[str]) -> list[str]:
    """References of the parts that the settings name, and of the statistics."""
    return [text for kind, text in OF_KIND.items() if kind in kinds] + list(ALWAYS)
