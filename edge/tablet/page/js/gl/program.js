// A GLSL program and its uniforms by name.

const SETTERS = {
  FLOAT: (gl, at, value) => gl.uniform1f(at, value),
  FLOAT_VEC2: (gl, at, value) => gl.uniform2fv(at, value),
  FLOAT_VEC3: (gl, at, value) => gl.uniform3fv(at, value),
  FLOAT_VEC4: (gl, at, value) => gl.uniform4fv(at, value),
  FLOAT_MAT3: (gl, at, value) => gl.uniformMatrix3fv(at, false, value),
  FLOAT_MAT4: (gl, at, value) => gl.uniformMatrix4fv(at, false, value),
  INT: (gl, at, value) => gl.uniform1i(at, value),
  INT_VEC3: (gl, at, value) => gl.uniform3iv(at, value),
  BOOL: (gl, at, value) => gl.uniform1i(at, value),
  SAMPLER_2D: (gl, at, value) => gl.uniform1i(at, value),
  SAMPLER_3D: (gl, at, value) => gl.uniform1i(at, value),
};

export class Program {
  #uniforms = new Map();

  constructor(gl, vertex, fragment) {
    this.gl = gl;
    this.program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) { // prettier-ignore
      const shader = gl.createShader(type);
      gl.shaderSource(shader, `#version 300 es\nprecision highp float; precision highp sampler3D;\n${source}`);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
      const wrong = gl.getShaderInfoLog(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(`shader: ${wrong}`);
      gl.deleteShader(shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(this.program));
    const setters = Object.fromEntries(Object.entries(SETTERS).map(([name, set]) => [gl[name], set]));
    for (let i = 0; i < (gl.getProgramParameter(this.program, gl.ACTIVE_UNIFORMS) ?? 0); i++) {
      const { name, type } = gl.getActiveUniform(this.program, i);
      this.#uniforms.set(name, [setters[type], gl.getUniformLocation(this.program, name)]);
    }
  }

  /** Uses the program; names that the compiler threw out are passed over. */
  use(uniforms) {
    this.gl.useProgram(this.program);
    for (const [name, value] of Object.entries(uniforms)) {
      const [set, at] = this.#uniforms.get(name) ?? [];
      set?.(this.gl, at, value);
    }
    return this;
  }
}
