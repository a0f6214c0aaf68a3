"""The paper's symbols and terms in English and Chinese, by the lesson that defines them.

The Chinese is that of Chinese texts on the subject, the paper's author's where we know it; a star marks what has no
settled rendering that we know of: there the Chinese is ours.

Notebook: 00. Page: docs/glossary.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """A term, its `symbol` in the paper and in the lessons' formulas, its name in `code`, its `lesson`."""

    lesson: int
    symbol: str
    code: str
    english: str
    chinese: str


GLOSSARY = tuple(
    Entry(lesson, *row)
    for lesson, rows in {
        0: (
            (r"u^{k+1}=\mathcal F(u^k)", "run", "discrete dynamical system", "离散动力系统"),
            ("x^k", "x", "state", "状态"),
            ("k", "k", "step of an iteration", "迭代步"),
            ("t", "t", "time", "时间"),
            ("h", "h", "step of the grid", "网格步长"),
            (r"q[-\cdot]\otimes u", "", "correlation (adjoint: convolution)", "互相关（其伴随为卷积）"),
            (r"\mathcal F_\Theta", "", "learned map", "学得的映射（含可学习参数）"),
            (r"\kappa=\sqrt K", "kappa", "slope above which edges sharpen", "斜率阈值"),
            ("", "fixed_point", "fixed point", "不动点"),
            ("", "", "firmly nonexpansive", "固定非扩张*"),
            ("", "psnr", "peak signal-to-noise ratio", "峰值信噪比"),
        ),
        1: (
            ("f=Au+\\eta", "f", "inverse problem", "反问题"),
            ("A", "A", "measurement operator (forward operator)", "测量算子（前向算子）"),
            ("u", "u", "unknown picture", "待求图像"),
            (r"\eta", "GaussianNoise", "additive noise", "加性噪声"),
            (r"\sigma", "sigma", "standard deviation of the noise", "噪声标准差"),
            ("A^\\top", "A.T", "adjoint operator", "伴随算子"),
            ("", "", "ill-posed (well-posed)", "不适定（适定）"),
            ("", "tikhonov", "Tikhonov regularisation", "吉洪诺夫正则化"),
            ("", "", "discrepancy principle", "偏差原理"),
            ("", "Blur", "deblurring", "去模糊"),
            ("", "Mask", "inpainting", "图像修补（修复）"),
            ("", "PartialFourier", "magnetic resonance imaging (MRI)", "磁共振成像"),
            ("", "Radon", "computed tomography (CT)", "计算机断层成像"),
        ),
        2: (
            ("W", "W", "wavelet frame transform", "小波框架变换"),
            ("W^\\top W=I", "tight", "tight frame", "紧框架"),
            (r"\psi", "framelet", "framelet", "框架小波"),
            (r"\phi", "refinable", "refinable function", "加细函数"),
            ("q", "q", "filter, mask", "滤波器（掩模）"),
            (r"\widehat q", "Filter.symbol", "symbol (Fourier series of a filter)", "符号（滤波器的傅里叶级数）"),
            (r"\widetilde W", "dual", "dual frame", "对偶框架"),
            ("", "extension_residual", "unitary extension principle (UEP)", "酉扩张原理"),
            ("", "extension_residual", "mixed extension principle (MEP)", "混合扩张原理*"),
            ("", "bspline", "B-spline tight frame", "B样条紧框架"),
            ("l", "levels", "level of the decomposition", "分解层数"),
            ("d=Wu", "d", "frame coefficients", "框架系数"),
        ),
        3: (
            (r"\alpha", "alpha", "multi-index, order of vanishing moments", "多重指标，消失矩的阶"),
            ("", "Filter.vanishing_order", "vanishing moments", "消失矩"),
            (r"K\setminus\{J+1\}", "Filter.total_order", "total vanishing moments, order of", "全消失矩的阶*"),
            (r"C_\alpha", "Filter.constant", "constant of a difference", "差分的常数因子"),
            ("", "", "finite difference", "有限差分"),
        ),
        4: (
            (r"\lambda", "lam", "weight, threshold", "正则化参数，阈值"),
            (r"\kappa", "kappa", "weight of the distance to the range of W", "平衡参数"),
            ("", "analysis", "analysis model", "分析模型"),
            ("", "synthesis", "synthesis model", "综合模型（合成模型）"),
            ("", "balanced", "balanced model", "平衡模型"),
            ("", "", "sparsity", "稀疏性"),
            (r"\operatorname{prox}", "", "proximal map", "邻近算子"),
            ("", "ForwardBackward", "proximal gradient method (forward-backward splitting)", "近似点梯度法"),
            (r"\rho", "rho", "penalty parameter of ADMM", "罚参数"),
            ("", "ADMM", "alternating direction method of multipliers", "交替方向乘子法"),
            ("", "PDHG", "primal-dual hybrid gradient method", "原始-对偶混合梯度法"),
            ("E", "E", "energy, smooth part of the objective", "能量泛函，目标函数的光滑部分"),
            ("R", "R", "regulariser", "正则项"),
            ("b", "b", "multiplier", "拉格朗日乘子"),
        ),
        5: (
            (r"\mathrm{TV}(u)", "TotalVariation", "total variation", "全变差"),
            (r"\nu", "nu", "weight of the total variation", "全变差的权重"),
            ("", "", "functions of bounded variation", "有界变差函数"),
            ("", "", "coarea formula", "余面积公式"),
            ("", "", "duality gap", "对偶间隙"),
            ("", "", "staircasing", "阶梯效应"),
            ("", "SplitBregman", "split Bregman iteration", "分裂Bregman迭代"),
            ("", "tgv", "total generalised variation (TGV)", "广义全变差"),
            ("", "AmbrosioTortorelli", "Mumford-Shah functional", "Mumford-Shah泛函"),
        ),
        6: (
            ("g", "g", "diffusivity", "扩散系数"),
            (r"\Delta t", "dt", "time step", "时间步长"),
            ("K", "threshold", "squared slope above which edges sharpen", "对比度参数（斜率的平方）"),
            (r"\varepsilon", "eps", "smoothing parameter", "光滑化参数"),
            ("", "PeronaMalik", "Perona-Malik equation", "Perona-Malik方程"),
            ("", "EdgeEnhancing", "anisotropic diffusion", "各向异性扩散"),
            ("", "", "scale space", "尺度空间"),
            ("", "", "maximum principle (of a diffusion)", "极值原理"),
            ("", "ShockFilter", "shock filter", "冲击滤波器（激波滤波器）"),
            ("", "CurvatureMotion", "mean curvature motion", "平均曲率运动（平均曲率流）"),
        ),
        7: (
            ("E_n", "DiscreteEnergy", "discrete functional", "离散泛函"),
            ("N", "N", "pixels along a side", "每边像素数"),
            ("T_n", "sample", "sampling operator", "采样算子"),
            (r"\Gamma\text{-}\lim", "", "Gamma-convergence", "Γ-收敛"),
            ("", "recovery", "recovery sequence", "恢复序列"),
        ),
        8: (
            ("S", "S", "shrinkage operator", "收缩算子"),
            ("", "Soft", "soft thresholding", "软阈值"),
            (r"\tau", "tau", "size of a step", "步长"),
            (r"\Phi", "", "nonlinearity of an evolution equation", "演化方程的非线性项"),
            ("", "FramePDE", "nonlinear evolution PDE", "非线性发展型偏微分方程"),
            ("", "", "CFL condition", "CFL条件"),
        ),
        9: (
            (r"\gamma^k", "gamma", "momentum", "动量"),
            ("C", "C", "damping coefficient", "阻尼系数"),
            (r"\mu", "mu", "weight of the data in (4.7)", "数据项的权重"),
            ("", "FISTA", "accelerated proximal gradient method (APG)", "加速近似点梯度法"),
            ("", "HeavyBall", "heavy ball method", "重球法"),
            ("", "DampedWave", "damped wave equation", "阻尼波方程"),
        ),
        10: (
            ("F", "F", "vector field (right-hand side)", "向量场（右端项）"),
            ("T", "T", "final time", "终止时间"),
            ("", "resnet", "residual network", "残差网络"),
            ("", "Euler", "forward Euler scheme", "向前欧拉格式"),
            ("", "TwoStep", "linear multi-step network", "线性多步网络"),
            ("", "", "modified equation", "修正方程"),
            ("", "NeuralODE", "neural ODE", "神经常微分方程"),
        ),
        11: (
            ("", "GatedEuler", "stochastic depth", "随机深度"),
            ("", "NeuralSDE", "stochastic differential equation", "随机微分方程"),
            ("", "Control", "optimal control", "最优控制"),
            ("H", "hamiltonian", "Pontryagin's maximum principle", "庞特里亚金极大值原理"),
            ("p", "costates", "costate (adjoint state)", "协态（伴随状态）"),
            ("", "MSA", "method of successive approximations", "逐次逼近法"),
        ),
        12: (
            ("M(q)", "moment_matrix", "moment matrix", "矩矩阵*"),
            ("", "MomentBank", "constrained filter", "约束滤波器*"),
        ),
        13: (
            ("", "PDENet", "PDE-Net: equations found in data", "PDE-Net：从数据中发现方程"),
            ("", "SymNet", "symbolic network", "符号网络"),
        ),
        14: (
            ("", "unrolled", "unrolled network", "深度展开网络"),
            ("", "LearnedFrame", "data-driven tight frame", "数据驱动紧框架"),
            ("", "RestorationUnit", "moving endpoint", "可动端点"),
            ("", "StoppingPolicy", "stopping time", "停止时间（停时）"),
        ),
        15: (
            ("", "segmentation", "image segmentation", "图像分割"),
            ("", "smooth_model", "surface reconstruction", "曲面重建"),
            (r"\mathbf 1_S", "", "indicator (characteristic function) of a set", "集合的示性函数（特征函数）"),
        ),
    }.items()
    for row in rows
)


def glossary(entries: tuple[Entry, ...] = GLOSSARY) -> str:
    """Entries as a Markdown table, in the order of the lessons."""
    rows = ["| English | 中文 | symbol | code | lesson |", "|---|---|---|---|---|"]
    for entry in entries:
        chinese = entry.chinese.replace("*", r"\*")
        symbol = f"${entry.symbol}$" if entry.symbol else ""
        code = f"`{entry.code}`" if entry.code else ""
        rows.append(f"| {entry.english} | {chinese} | {symbol} | {code} | {entry.lesson:02d} |")
    return "\n".join(rows)


def page() -> str:
    """docs/glossary.md."""
    words = (
        f"{len(GLOSSARY)} symbols and terms of the paper, in the order of the lessons that define them, each with its "
        "name in the code. A star marks what has no settled Chinese rendering that we know of; the Chinese is ours. "
        "Written from `companion/lab/glossary.py` by `make map`."
    )
    return f"# Glossary, English and Chinese\n\n{words}\n\n{glossary()}\n"


class Glossary:
    """What lesson 00 shows: the whole glossary, folded; where no web page is shown, one term a line."""

    def __repr__(self) -> str:
        return "\n".join(f"{e.lesson:02d}  {e.english}: {e.chinese}" for e in GLOSSARY)

    def _repr_markdown_(self) -> str:
        summary = f"{len(GLOSSARY)} terms, English and Chinese (click)"
        return f"<details><summary>{summary}</summary>\n\n{glossary()}\n\n</details>"


def main() -> None:
    """Write docs/glossary.md."""
    path = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
